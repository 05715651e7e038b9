"""`naq stats`: the numbers of all queues."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from naq_cli._errors import CommandError
from naq_cli._format import iso
from naq_cli._options import Reading, seconds_of
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_cli.commands.queue import COLUMNS as QUEUE_COLUMNS
from naq_cli.exit_codes import ExitCode
from naq_core.inspect import broker_info, list_queues, list_workers
from naq_core.views import BrokerView, QueueView
from naq_core.wording import counted, size

if TYPE_CHECKING:
    from rich.console import Group

_SHORTEST_SECONDS = 0.1


class Stats(msgspec.Struct, kw_only=True):
    """The numbers at one moment."""

    at: datetime
    queues: list[QueueView]
    workers: int
    """How many are alive."""
    slots: int
    """How many jobs they can run at a time."""
    busy: int
    """How many they run."""
    processed: int
    """How many the living workers have run since they started."""
    failed: int
    per_second: float | None = None
    """Jobs run since the numbers before; None the first time."""
    broker: BrokerView


async def read_stats(session: Session) -> Stats:
    """Read all numbers at once."""
    connection = session.connection
    queues, workers, broker = await asyncio.gather(list_queues(connection), list_workers(connection), broker_info(connection))
    return Stats(
        at=datetime.now(UTC),
        queues=queues,
        workers=sum("unreadable" not in worker for worker in workers),
        slots=sum(_number(worker, "concurrency") for worker in workers),
        busy=sum(len(worker.get("running") or ()) for worker in workers),
        processed=sum(_number(worker, "processed") for worker in workers),
        failed=sum(_number(worker, "failed") for worker in workers),
        broker=broker,
    )


def _number(worker: dict[str, Any], name: str) -> int:
    value = worker.get(name)
    return value if isinstance(value, int) else 0


@connected("stats", Reading)
async def stats(
    session: Session,
    *,
    watch: Annotated[bool, Parameter(alias="-w", negative="")] = False,
    interval: str = "2s",
    count: Annotated[int | None, Parameter(alias="-n")] = None,
) -> None:
    """Show the jobs of each queue, the workers' load and the server.

    Args:
        watch: Refresh until Ctrl-C, with jobs per second.
        interval: The refresh interval of --watch.
        count: With --watch, stop after this many refreshes.
    """
    if not watch:
        _show(session, await read_stats(session))
        return
    seconds = seconds_of(interval, "--interval") or 0
    if seconds < _SHORTEST_SECONDS:
        raise CommandError(f"--interval: {interval!r} is shorter than {_SHORTEST_SECONDS} s", ExitCode.USAGE)
    before: Stats | None = None
    before_at = 0.0
    with _screen(session) as show:
        while True:
            now, now_at = await read_stats(session), time.monotonic()
            # The count falls where a worker has gone with what it had run.
            if before is not None and now.processed >= before.processed:
                now.per_second = round((now.processed - before.processed) / (now_at - before_at), 3)
            show(now)
            before, before_at = now, now_at
            if count is not None:
                count -= 1
                if count <= 0:
                    return
            await asyncio.sleep(seconds)


@contextlib.contextmanager
def _screen(session: Session) -> Iterator[Any]:
    output = session.output
    if not output.is_terminal:

        def again(stats: Stats) -> None:
            if output.is_json:
                output.json_line(stats)
            else:
                _show(session, stats)
            output.flush()

        yield again
        return
    from rich.live import Live

    with Live(console=output.console(), auto_refresh=False, transient=False) as live:
        yield lambda stats: live.update(_picture(session, stats), refresh=True)


def _show(session: Session, stats: Stats) -> None:
    output = session.output
    if output.is_json:
        output.json(stats) if output.form == "json" else output.json_line(stats)
    elif output.is_terminal:
        output.console().print(_picture(session, stats))
    else:
        columns = (Column("At", lambda _: stats.at), *QUEUE_COLUMNS)
        output.list(stats.queues, columns, key=lambda queue: queue.queue, empty="")


def _picture(session: Session, stats: Stats) -> "Group":
    from rich.console import Group
    from rich.text import Text

    broker = stats.broker
    stored = sum(int(stream.get("bytes", 0)) for stream in broker.streams)
    workers = counted(stats.workers, "worker")
    rate = "" if stats.per_second is None else f", {stats.per_second:,.1f} jobs/s"
    head = Text.assemble(
        (f"{broker.url}", "bold"),
        f"  nats-server {broker.version}, {broker.rtt * 1000:.1f} ms away, {size(stored)} stored\n",
        f"{workers}, {stats.busy} of {stats.slots} slots busy{rate}, {iso(stats.at)}\n",
    )
    body: Any = session.output.table(stats.queues, QUEUE_COLUMNS) if stats.queues else Text("There are no queues yet.")
    return Group(head, body)
