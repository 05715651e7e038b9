"""Sums over queues."""

from collections.abc import Iterable, Sequence

from naq_core.views import QueueView

__all__ = ["ATTENTION_FRESH", "job_counts", "longest_waiting", "totals"]

ATTENTION_FRESH = 3.0
"""Seconds for which the list of what needs attention stays: it is put together of many answers."""


def totals(queues: Sequence[QueueView]) -> dict[str, int]:
    """Return how many jobs are waiting, running, held, dead and redelivered over all queues, and how many queues are paused."""
    names = ("waiting", "running", "held", "dead", "redelivered")
    return {name: sum(getattr(each, name) for each in queues) for name in names} | {"paused": sum(each.paused for each in queues)}


def job_counts(queues: Sequence[QueueView]) -> dict[str, int]:
    """Return how many jobs are in the states that the server counts, over all queues."""
    found = totals(queues)
    return {"queued": found["waiting"], **{name: found[name] for name in ("held", "running", "dead")}}


def longest_waiting(queues: Iterable[QueueView]) -> list[QueueView]:
    """Return the queues by the age of their oldest waiting job, then by how many wait."""
    return sorted(queues, key=_urgency)


def _urgency(queue: QueueView) -> tuple[float, int, str]:
    oldest = queue.oldest_at.timestamp() if queue.oldest_at is not None and queue.waiting else float("inf")
    return (oldest, -queue.waiting, queue.queue)
