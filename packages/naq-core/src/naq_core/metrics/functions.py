"""Figures of each function: what was counted in the stretches of a time, added up over queues and workers."""

from collections.abc import Iterable

import msgspec

from naq_core.metrics.figures import Figures, quantile

PARTS = 48
"""Into so many parts of equal length the time is divided, to show how many jobs ended when."""


class FunctionFigures(msgspec.Struct, kw_only=True):
    """What the jobs of one function did within a time. Durations are estimated within classes, and None where nothing ran."""

    function: str
    queues: list[str]
    started: int = 0
    """Started attempts."""
    succeeded: int = 0
    failed: int = 0
    """For good, however."""
    retried: int = 0
    cancelled: int = 0
    run_p50: float | None = None
    """Seconds."""
    run_p95: float | None = None
    run_p99: float | None = None
    run_total: float = 0.0
    """Seconds of all attempts together."""
    wait_p50: float | None = None
    wait_p95: float | None = None
    wait_p99: float | None = None
    ended: list[int] = []
    """How many jobs ended in each 48th of the time, the oldest first."""

    @property
    def failed_share(self) -> float:
        """The share of the jobs that ended by themselves which died."""
        return self.failed / max(1, self.succeeded + self.failed)


def add_up(rows: Iterable[tuple[float, Figures]]) -> list[FunctionFigures]:
    """Return the figures of each function, the one that took most time first.

    Args:
        rows: Figures, and where in the time they belong, from 0.0 to below 1.0.
    """
    sums: dict[str, Figures] = {}
    queues: dict[str, set[str]] = {}
    ended: dict[str, list[int]] = {}
    for place, row in rows:
        name = row.function
        if name not in sums:
            sums[name], queues[name], ended[name] = Figures("", name, wait={}, run={}), set(), [0] * PARTS
        sums[name].add(row)
        queues[name].add(row.queue)
        ended[name][min(PARTS - 1, int(place * PARTS))] += row.ended
    found = [_of(name, figures, sorted(queues[name]), ended[name]) for name, figures in sums.items()]
    return sorted(found, key=lambda each: (-each.run_total, each.function))


def _of(function: str, figures: Figures, queues: list[str], ended: list[int]) -> FunctionFigures:
    return FunctionFigures(
        function=function,
        queues=queues,
        started=figures.started,
        succeeded=figures.succeeded,
        failed=figures.failed + figures.timed_out + figures.dead,
        retried=figures.retried,
        cancelled=figures.cancelled,
        run_p50=quantile(figures.run, 0.5),
        run_p95=quantile(figures.run, 0.95),
        run_p99=quantile(figures.run, 0.99),
        run_total=figures.run_sum,
        wait_p50=quantile(figures.wait, 0.5),
        wait_p95=quantile(figures.wait, 0.95),
        wait_p99=quantile(figures.wait, 0.99),
        ended=ended,
    )
