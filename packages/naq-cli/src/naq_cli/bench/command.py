"""`naq bench`: how fast jobs are enqueued and run on this server, from this machine."""

import platform
import statistics
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from naq_cli._options import Reading
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_cli.bench.lab import need_worker, temporary_namespace
from naq_cli.bench.measures import MEASURES, Size, Value
from naq_core import __version__

Positive = Annotated[int, Parameter(validator=Number(gte=1))]


class Figure(msgspec.Struct, kw_only=True):
    """What was measured, in all repetitions."""

    figure: str
    unit: str
    jobs: int
    """How many jobs one repetition took."""
    median: float
    lowest: float
    highest: float
    ideal: float | None = None
    """What could be reached at best, where that is known."""


class BenchReport(msgspec.Struct, kw_only=True):
    """The figures, and where they were measured."""

    figures: list[Figure]
    repetitions: int
    concurrency: int
    workers: int
    url: str
    server_version: str
    naq_version: str = __version__
    python_version: str = platform.python_version()


COLUMNS = (
    Column("Figure", lambda figure: figure.figure),
    Column("Unit", lambda figure: figure.unit),
    Column("Median", lambda figure: _rounded(figure.median), right=True),
    Column("Lowest", lambda figure: _rounded(figure.lowest), right=True),
    Column("Highest", lambda figure: _rounded(figure.highest), right=True),
    Column("Ideal", lambda figure: None if figure.ideal is None else _rounded(figure.ideal), rank=2, right=True),
    Column("Jobs", lambda figure: figure.jobs, rank=1, right=True),
)


@connected("bench", Reading)
async def bench(
    session: Session,
    *measures: Literal["enqueue", "drain", "sleep", "round-trip"],
    jobs: Annotated[Positive, Parameter(alias="-n")] = 10_000,
    reps: Positive = 3,
    concurrency: Annotated[Positive, Parameter(alias="-c")] = 100,
    workers: Positive = 1,
) -> None:
    """Measure how fast jobs are enqueued and run on this server, with workers on this machine.

    Each measurement has a namespace of its own, whose streams are deleted afterwards, also after an error or Ctrl-C. It
    shares the server's CPUs and disk with everything else there.

    Args:
        measures: What to measure: enqueue, drain (jobs that do nothing), sleep (jobs that wait 50 ms) or round-trip (from
            the enqueue to the result). Default: all.
        jobs: Jobs of enqueue and drain; the others take fewer.
        reps: Repetitions, of which the median, the lowest and the highest value are shown.
        concurrency: How many jobs a worker runs at a time.
        workers: How many worker processes run.
    """
    chosen = [name for name in MEASURES if name in measures or not measures]
    if chosen != ["enqueue"]:
        need_worker()
    plan = Size(jobs, concurrency, workers)
    found: dict[str, list[Value]] = {}
    with session.output.progress("measuring", reps * len(chosen)) as advance:
        for number in range(reps * len(chosen)):  # interleaved: a slow minute of the machine hits all alike
            async with temporary_namespace(session.settings) as connection:
                for value in await MEASURES[chosen[number % len(chosen)]](plan, connection):
                    found.setdefault(value.figure, []).append(value)
            advance(number + 1)
    figures = [_figure(values) for values in found.values()]
    report = BenchReport(
        figures=figures,
        repetitions=reps,
        concurrency=concurrency,
        workers=workers,
        url=session.settings.redacted_url(),
        server_version=session.connection.server_version,
    )
    session.output.list(figures, COLUMNS, key=_line, empty="", document=report)


def _line(figure: Figure) -> str:
    return f"{figure.figure}={_rounded(figure.median)}"


def _figure(values: list[Value]) -> Figure:
    first, measured = values[0], [value.value for value in values]
    return Figure(
        figure=first.figure,
        unit=first.unit,
        jobs=first.jobs,
        median=statistics.median(measured),
        lowest=min(measured),
        highest=max(measured),
        ideal=first.ideal,
    )


def _rounded(value: float) -> float:
    """Return as many digits as mean something from one run to the next."""
    return round(value) if value >= 100 else round(value, 2)
