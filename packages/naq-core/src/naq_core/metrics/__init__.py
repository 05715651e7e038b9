"""Figures over time: workers count in memory and store sums every ten seconds; who shows them adds the sums of all up.

Nothing is ever stored for a single job. For charts, each worker has one message for each stretch of time, of three lengths, and
for each 200 of its queues. It replaces the message while the stretch lasts: so a lost acknowledgement costs nothing, a worker
that dies costs ten seconds, and three days are read with a few hundred small messages for each. For Prometheus, which needs
counters that only ever grow, the same sums are added to the server's own (`naq_core.storage.tally`, `docs/adr/0023-counters.md`).
"""

from naq_core.metrics.figures import BOUNDS, COUNTED_BOUNDS, LEVELS, OUTCOMES, Figures, Level, level_of, quantile
from naq_core.metrics.functions import FunctionFigures
from naq_core.metrics.recorder import Recorder
from naq_core.metrics.series import Series, SeriesPoint, SeriesReader, read_functions, read_series
from naq_core.storage.tally_store import Counter, TallyReader
from naq_core.storage.topology import ensure_tally

__all__ = [
    "BOUNDS",
    "COUNTED_BOUNDS",
    "LEVELS",
    "OUTCOMES",
    "Counter",
    "Figures",
    "FunctionFigures",
    "Level",
    "Recorder",
    "Series",
    "SeriesPoint",
    "SeriesReader",
    "TallyReader",
    "ensure_tally",
    "level_of",
    "quantile",
    "read_functions",
    "read_series",
]
