"""`naq events`: what happens to jobs, as it happens."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import READING, Reading


def events(
    queue: str = "*",
    /,
    *,
    kind: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    function: str | None = None,
    count: Annotated[int | None, Parameter(alias="-n")] = None,
    progress: bool = True,
    options: Reading = READING,
) -> int:
    """Print job events from now on, until Ctrl-C.

    Kinds: started, progress, retrying, returned, succeeded, failed, cancelled, expired; with NAQ_JOB_EVENTS=on also enqueued,
    held, released and dead. `gap` means that some may have been missed. --json and --jsonl print one object per line.

    Args:
        queue: Only events of this queue.
        kind: Only events of this kind; may be repeated.
        function: Only events of functions with this text in their name.
        count: Stop after this many events.
        progress: Include progress events.
    """
    from naq_cli._session import online
    from naq_cli.actions.events import Wanted, print_events

    wanted = Wanted(queue, frozenset(kind), function, with_progress=progress)
    return online("events", options, lambda session: print_events(session, wanted, count))
