"""Jobs that wait for a signal."""

from naq_core.inspect._compose import view_of
from naq_core.masks import Mask, masked
from naq_core.storage.connection import Connection
from naq_core.storage.signals import first_waiters
from naq_core.transport.direct import Entry
from naq_core.values import whole
from naq_core.views import JobView, SignalPage


async def waiting_for_signals(connection: Connection, limit: int = 100, mask: Mask | None = None) -> SignalPage:
    """Return the jobs that wait for a signal, the one that has waited longest first.

    Args:
        limit: The most jobs, 1 to 1,000.
        mask: As of `list_jobs`.

    Raises:
        InvalidOptionError: The limit is out of range.
    """
    found, has_more = await first_waiters(connection, whole(limit, "limit", 1, 1000))
    jobs: list[JobView] = []
    for message in found:
        view = view_of(None, Entry(message.subject, message.sequence, "", message.headers, message.data))
        jobs.append(masked(view, mask))
    return SignalPage(jobs=jobs, has_more=has_more)
