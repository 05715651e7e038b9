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
    """Print what happens to jobs from now on, until Ctrl-C.

    Kinds: started, progress, retrying, returned, succeeded, failed, cancelled, expired; with NAQ_JOB_EVENTS=on also enqueued,
    held, released and dead. `gap` says that some may have been missed. With --json or --jsonl each is a line of its own.

    Args:
        queue: Only of this queue.
        kind: Only of this kind; may be repeated.
        function: Only of functions with this in their name.
        count: Stop after so many.
        progress: Those of progress too.
    """
    from naq_cli._session import online
    from naq_cli.actions.events import Wanted, print_events

    wanted = Wanted(queue, frozenset(kind), function, with_progress=progress)
    return online("events", options, lambda session: print_events(session, wanted, count))
