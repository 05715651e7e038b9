"""Showing and changing queues."""

from naq_cli._format import iso
from naq_cli._session import Session
from naq_core.filters import parse_instant
from naq_core.manage import pause_queue, purge_queue, resume_queue
from naq_core.names import check_queue


async def pause(session: Session, queue: str, until: str | None) -> None:
    """Pause a queue."""
    end = None if until is None else parse_instant(until, setting="until", ahead=True)
    await pause_queue(session.connection, queue, end)
    how = f"naq queue resume {queue} ends it" if end is None else f"until {iso(end)}"
    session.output.done(f"{queue} is paused: {how}.", names=[queue])


async def resume(session: Session, queue: str) -> None:
    """Resume a queue."""
    await resume_queue(session.connection, queue)
    session.output.done(f"{queue} is not paused.", names=[queue])


async def purge(session: Session, queue: str, *, yes: bool) -> None:
    """Purge a queue after asking."""
    check_queue(queue)
    session.output.confirm(f"Every waiting and delayed job of {queue} would be deleted.", yes=yes)
    deleted = await purge_queue(session.connection, queue)
    session.output.done(f"{deleted:,} jobs of {queue} were deleted.", names=[str(deleted)])
