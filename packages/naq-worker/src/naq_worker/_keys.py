"""Jobs with a key: a worker starts the next ones when a bell asks for it and when one has ended (`docs/adr/0054-keys.md`)."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from naq_core.envelope import Envelope
from naq_core.errors import BrokerError, UnreadableError, WrongSequenceError
from naq_core.record import JobRecord
from naq_core.storage.bells import Bell, bell, read_bell
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, ack_all
from naq_core.storage.keys import token_of_key, waiting_pair
from naq_core.storage.messages import if_newest
from naq_core.storage.releasing import start_next
from naq_core.transport.batch import publish_batch

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Keys whose next jobs one worker starts at the same time: the server takes 50 unfinished batches of a stream, and is silent
about more."""
AGAIN = 0.5
"""Seconds before a bell that could not be answered is delivered again."""


class Keys:
    """Starts the next jobs of keys, for one worker.

    Args:
        key_limit: How many jobs of one key may have a place, by queue.
    """

    def __init__(self, connection: Connection, key_limit: Callable[[str], int]) -> None:
        self._connection = connection
        self._key_limit = key_limit
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._unanswered: dict[tuple[str, str], list[tuple[Delivery, Bell]]] = {}
        """Bells that have arrived since the last ones of their key are being answered, by queue and token."""

    @property
    def is_answering(self) -> bool:
        """Whether bells are being answered."""
        return bool(self._unanswered)

    async def answer(self, delivery: Delivery) -> None:
        """Start the next jobs of the key that a bell names; others of its key that arrive meanwhile share an answer."""
        try:
            asked = read_bell(delivery.bell, delivery.data)
        except UnreadableError as error:
            log.error("queue %s: dropped a foreign message: %s", delivery.queue, error)  # noqa: TRY400 - the error says it all
            await delivery.ack()
            return
        key = delivery.queue, asked.token
        others = self._unanswered.get(key)
        if others is not None:
            others.append((delivery, asked))
            return
        self._unanswered[key] = [(delivery, asked)]
        try:
            while bells := self._unanswered[key]:
                self._unanswered[key] = []
                await self._answer(*key, bells)
        finally:
            del self._unanswered[key]

    async def _answer(self, queue: str, token: str, bells: list[tuple[Delivery, Bell]]) -> None:
        ended = {job_id: run for _, asked in bells for job_id, run in asked.ended.items()}
        checks = any(asked.checks for _, asked in bells)
        deliveries = [delivery for delivery, _ in bells]
        try:
            await self._start_next(queue, token, ended, checks=checks)
        except BrokerError as error:
            log.warning("the next jobs of key %s of queue %s will be started later: %s", token, queue, error)
            for delivery in deliveries:
                await delivery.nak(AGAIN)
        else:
            await ack_all(deliveries)

    async def leave(self, ended: Iterable[tuple[Delivery, JobRecord]]) -> None:
        """Give the places of jobs that have ended to the next ones.

        Raises:
            BrokerError: Not all of it may have been done; doing it again is harmless.
        """
        places: dict[tuple[str, str], dict[str, str]] = {}
        for delivery, record in ended:
            if delivery.place:
                places.setdefault((delivery.queue, delivery.place), {})[delivery.job_id] = record.run
        if places:
            await asyncio.gather(*(self._start_next(*key, jobs) for key, jobs in places.items()))

    async def _start_next(self, queue: str, token: str, ended: Mapping[str, str], *, checks: bool = False) -> None:
        async with self._turn:
            await start_next(self._connection, queue, token, self._key_limit(queue), ended, checks=checks)

    async def make_wait(self, delivery: Delivery, envelope: Envelope) -> None:
        """Put a job that has no place where the jobs of its key wait: it was delayed, waited for others, or is a requeued one."""
        key, token = delivery.key, token_of_key(envelope.opt.key)
        headers = if_newest(self._connection, *key, delivery.sequence)
        pair = waiting_pair(self._connection, (delivery.subject, delivery.data, headers), key, token)
        try:
            # With a check: the job may be on the list from before, as one that was to wait for its retry.
            await publish_batch(
                self._connection, [*pair, bell(self._connection, delivery.queue, token, delivery.level, checks=True)]
            )
        except WrongSequenceError:
            log.debug("job %s waits for its key already, or was moved", delivery.job_id)
        await delivery.ack()
