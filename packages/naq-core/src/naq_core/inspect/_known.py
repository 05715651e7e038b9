"""A lower bound on the number of jobs that a filter matches, from the server's counters."""

from naq_core.record import JobState
from naq_core.storage.connection import Connection
from naq_core.storage.consumers import list_consumers
from naq_core.transport.direct import count_many
from naq_core.transport.streams import stream_span
from naq_core.views import JobCount, JobFilter

HELD = frozenset({JobState.HELD, JobState.RETRYING})
"""States of messages on held subjects; a short back-off is retrying elsewhere."""


async def known_count(connection: Connection, wanted: JobFilter) -> JobCount:
    """Return a number that the filter's matches do not fall below, 0 where only a search can tell.

    It is known for states that are places, for one queue or all, and for all jobs.
    """
    names = connection.names
    if wanted != JobFilter(states=wanted.states, queue=wanted.queue) or len(wanted.queues) > 1:
        return JobCount(count=0, is_exact=False)
    queue = wanted.place
    match wanted.states:
        case states if states == {JobState.DEAD}:
            return JobCount(count=(await count_many(connection, names.jobs_stream, [names.dead(queue, "*")]))[0])
        case states if states == HELD:
            return _at_least((await count_many(connection, names.jobs_stream, [names.held(queue, "*")]))[0])
        case states if states == {JobState.QUEUED}:
            return _at_least(await _pending(connection, queue))
        case states if not states:
            # A job that waits may have a record of an earlier life: the two numbers cannot be added up.
            records = (await stream_span(connection, names.results_stream)).messages if queue == "*" else 0
            return _at_least(max(records, await _pending(connection, queue)))
        case _:
            return JobCount(count=0, is_exact=False)


async def _pending(connection: Connection, queue: str) -> int:
    return sum(each.pending for each in await list_consumers(connection, queue))


def _at_least(count: int) -> JobCount:
    return JobCount(count=count, is_exact=False)
