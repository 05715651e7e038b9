"""`naq events`: what happens to jobs, as it happens."""

import contextlib
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from naq_cli._errors import CommandError
from naq_cli._format import NOTHING, iso, printable
from naq_cli._jobs import progress_text
from naq_cli._options import Reading
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core import events as feeds
from naq_core.events import KINDS, Event
from naq_core.inspect import broker_info
from naq_core.names import check_queue_or_any
from naq_core.storage.topology import ensure_streams
from naq_core.tasks import beside

COLORS = {
    "enqueued": "cyan",
    "held": "blue",
    "released": "cyan",
    "started": "yellow",
    "progress": "yellow",
    "retrying": "magenta",
    "returned": "magenta",
    "succeeded": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "bright_black",
    "expired": "bright_black",
    "kept": "bright_black",
    "gap": "bold red",
}
_HEADER = ("at", "kind", "queue", "job", "function", "attempt", "worker", "progress")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are meant."""

    queues: frozenset[str]
    """Empty: all."""
    kinds: frozenset[str]
    function: str | None
    with_progress: bool

    def takes(self, event: Event) -> bool:
        """Tell whether to print it; that something was missed is always said."""
        if event.kind == "gap":
            return True
        if self.queues and event.queue not in self.queues:
            return False
        if self.kinds and event.kind not in self.kinds:
            return False
        if self.function is not None and self.function not in event.function:
            return False
        return self.with_progress or event.kind != "progress"


@connected("events", Reading)
async def events(
    session: Session,
    queue: str = "*",
    /,
    *,
    kind: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    function: str | None = None,
    count: Annotated[int | None, Parameter(alias="-n")] = None,
    progress: bool = True,
) -> None:
    """Print job events from now on, until Ctrl-C.

    Kinds: started, progress, retrying, returned, succeeded, failed, cancelled, expired; with NAQ_JOB_EVENTS=on also enqueued,
    held, released, dead and kept. `gap` means that some may have been missed. --json and --jsonl print one object per line.

    Args:
        queue: Only events of this queue, or of several, separated by commas.
        kind: Only events of this kind; may be repeated.
        function: Only events of functions with this text in their name.
        count: Stop after this many events.
        progress: Include progress events.
    """
    queues = [check_queue_or_any(each) for each in queue.removeprefix("queue:").split(",")]
    named = frozenset() if "*" in queues else frozenset(queues)
    wanted = Wanted(named, frozenset(kind), function, with_progress=progress)
    for unknown in wanted.kinds - KINDS.keys():
        raise CommandError(f"there is no event of kind {unknown}; there are {', '.join(KINDS)}", ExitCode.USAGE)
    await ensure_streams(session.connection)  # else the subscription would wait for it
    async with contextlib.aclosing(feeds.events(session.connection, queues[0] if len(queues) == 1 else "*")) as feed:
        async with beside(anext(feed)) as first:
            # A round trip after the subscription: once the header is printed, no event is missed.
            await broker_info(session.connection)
            _announce(session)
            event = await first
        left = count
        while True:
            if wanted.takes(event):
                _print(session, event)
                if left is not None:
                    left -= 1
                    if left <= 0:
                        return
            event = await anext(feed)


def _announce(session: Session) -> None:
    output = session.output
    if output.is_terminal:
        output.remark("Waiting for events; press Ctrl-C to stop.")
    elif not output.is_json and not output.quiet:
        output.lines(["\t".join(_HEADER)])
        output.flush()


def _print(session: Session, event: Event) -> None:
    output = session.output
    if output.is_json:
        output.json_line(event)
        return
    if output.quiet:
        output.lines([event.job_id])
    elif output.is_terminal:
        _print_for_people(session, event)
    else:
        cells = (
            iso(event.at),
            event.kind,
            event.queue,
            event.job_id,
            event.function,
            str(event.attempt or ""),
            event.worker,
            progress_text(event.progress),
        )
        output.lines(["\t".join(printable(cell).replace("\t", " ").replace("\n", " ") for cell in cells)])
    output.flush()


def _print_for_people(session: Session, event: Event) -> None:
    from rich.text import Text

    console = session.output.console()
    text = Text.assemble(
        (f"{event.at.astimezone():%H:%M:%S} ", "dim"),
        (f"{event.kind:<10}", COLORS.get(event.kind, "")),
        f"{event.job_id or NOTHING}  ",
        f"{printable(event.function)} ",
    )
    details = [event.queue if event.queue != "*" else "", progress_text(event.progress)]
    if event.attempt > 1:
        details.append(f"attempt {event.attempt}")
    if event.kind == "gap":
        details = ["some events may have been missed"]
    text.append(printable(" · ".join(each for each in details if each)), style="dim")
    console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
