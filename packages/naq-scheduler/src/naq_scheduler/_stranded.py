"""Ready jobs that their consumer does not deliver any more: it takes them for settled, though they are stored (ADR 68)."""

from collections.abc import Sequence

from naq_core.decoding import parse_instant
from naq_core.storage.connection import Connection
from naq_core.storage.consumers import ConsumerFacts, list_consumers
from naq_core.storage.messages import deliver_again
from naq_core.storage.subjects import LEVELS, state_of_subject
from naq_core.transport.direct import Entry
from naq_core.transport.message import Message, header_block

AGE = 60.0
"""Seconds since it was stored; most jobs are settled by then, so that nothing has to be asked for them."""
MOST = 10_000
"""Suspects that are remembered until the sweep comes by again."""


class Stranded:
    """Finds stranded jobs and stores them again.

    The server removes a settled message a moment later than it notes it, so a job is stranded if it is still there when the
    sweep comes by again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._suspects: set[int] = set()

    async def look(self, entries: Sequence[Entry]) -> int:
        """Look at stored messages, and return how many were stranded."""
        old = [each for each in entries if self._is_ready(each) and self._is_old(each)]
        if not old:
            return 0
        consumers = {(each.level, each.queue): each for each in await list_consumers(self._connection)}
        found = 0
        for entry in old:
            consumer = consumers.get(state_of_subject(entry.subject)[:2])
            if consumer is None or not _is_settled(consumer, entry.sequence):
                self._suspects.discard(entry.sequence)
            elif entry.sequence in self._suspects:
                self._suspects.discard(entry.sequence)
                message = Message(entry.subject, entry.sequence, entry.data, header_block(entry.headers))
                found += await deliver_again(self._connection, message)
            elif len(self._suspects) < MOST:
                self._suspects.add(entry.sequence)
        return found

    def _is_old(self, entry: Entry) -> bool:
        stored_at = parse_instant(entry.stored_at)
        return stored_at is not None and stored_at.timestamp() < self._connection.clock.now() - AGE

    def _is_ready(self, entry: Entry) -> bool:
        jobs, _, place = entry.subject.partition(f"{self._connection.names.jobs}.")
        return not jobs and place.count(".") == 2 and place.split(".")[0] in LEVELS


def _is_settled(consumer: ConsumerFacts, sequence: int) -> bool:
    """Whether the consumer has delivered this message and does not wait for its acknowledgement."""
    return sequence <= (consumer.floor if consumer.unsettled else consumer.delivered)
