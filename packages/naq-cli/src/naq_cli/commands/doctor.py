"""`naq doctor`: what is wrong, and what to do about it."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import READING, Reading


def doctor(
    *queues: str,
    monitor_url: str | None = None,
    strict: Annotated[bool, Parameter(negative="")] = False,
    remove_unreadable: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    options: Reading = READING,
) -> int:
    """Check the server, its settings and limits, NAQ's streams, the workers and the clocks.

    The exit code is 1 if a check found a problem, and 3 if no server can be reached.

    Args:
        queues: Queues that must be usable.
        monitor_url: The server's monitoring address (http://host:8222), which reports sync_interval. By default port 8222
            of the server is tried.
        strict: Warnings count as problems.
        remove_unreadable: Delete the documents that cannot be read. A job whose record is deleted may run again.
        yes: Do not ask for confirmation.
    """
    from naq_cli._session import online
    from naq_cli.actions.doctor import examine, remove

    if remove_unreadable:
        return online("doctor", options, lambda session: remove(session, yes=yes))
    return online("doctor", options, lambda session: examine(session, list(queues), monitor_url, strict=strict))
