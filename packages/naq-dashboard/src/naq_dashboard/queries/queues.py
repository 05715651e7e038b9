"""Sums over queues."""

from collections.abc import Iterable, Sequence

from naq_core.attention import needs_attention
from naq_core.views import Problem, QueueView
from naq_dashboard.queries.reader import Reader

__all__ = ["ATTENTION_FRESH", "job_counts", "longest_waiting", "problems", "totals"]

ATTENTION_FRESH = 3.0
"""Seconds for which the list of what needs attention stays: it is put together of many answers."""


async def problems(read: Reader) -> list[Problem]:
    """Return what needs attention; what the page has read besides is not read again for it.

    Raises:
        BrokerError: The server does not answer.
    """
    return await read(needs_attention, read.mask, read, fresh=ATTENTION_FRESH, stale=ATTENTION_FRESH)


def totals(queues: Sequence[QueueView]) -> dict[str, int]:
    """Return how many jobs are queued, running, held, dead and redelivered over all queues, and how many queues are paused."""
    names = ("queued", "running", "held", "waiting_for_key", "dead", "redelivered")
    found = {name: sum(getattr(each, name) for each in queues) for name in names}
    return found | {
        "paused": sum(each.paused for each in queues),
        "waiting": found["queued"],
    }  # the old name, for one release more


def job_counts(queues: Sequence[QueueView]) -> dict[str, int]:
    """Return how many jobs are in the states that the server counts, over all queues."""
    found = totals(queues)
    return {name: found[name] for name in ("queued", "held", "running", "dead")}


def longest_waiting(queues: Iterable[QueueView]) -> list[QueueView]:
    """Return the queues by the age of their oldest queued job, then by how many there are."""
    return sorted(queues, key=_urgency)


def _urgency(queue: QueueView) -> tuple[float, int, str]:
    oldest = queue.oldest_at.timestamp() if queue.oldest_at is not None and queue.queued else float("inf")
    return (oldest, -queue.queued, queue.queue)
