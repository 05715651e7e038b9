"""Puts jobs where the jobs of their key wait, or those of their queue: what comes meanwhile gathers for the next batch."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from naq_core.errors import BrokerError, WrongSequenceError
from naq_core.storage.bells import bell
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, ack_all
from naq_core.storage.keys import waiting_pair
from naq_core.storage.messages import if_newest
from naq_core.storage.subjects import NORMAL, PLACE
from naq_core.storage.waiting_entries import Key
from naq_core.transport.batch import publish_batch
from naq_core.transport.headers import EXPECTED_SEQUENCE, EXPECTED_SUBJECT
from naq_core.transport.repeat import BrokerMessage

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Jobs of one batch, which are at most three messages each: the server takes 1,000."""
MOST_BYTES = 1024 * 1024
"""The size of a batch, about."""

_Line: TypeAlias = tuple[str, str, str]
"""Queue, token and priority of jobs that wait one behind the other."""


class _Coming(NamedTuple):
    """A job that is to wait."""

    delivery: Delivery
    token: str
    stored: asyncio.Future[None]

    @property
    def line(self) -> _Line:
        return self.delivery.queue, self.token, self.delivery.level


class Waits:
    """Puts the jobs of one worker where they wait.

    Args:
        waiting_at: Returns the sequence of a key's list that is known to let no job more start; 0: none is, or the job is in it.
    """

    def __init__(self, connection: Connection, waiting_at: Callable[[Key, str], int]) -> None:
        self._connection = connection
        self._waiting_at = waiting_at
        self._coming: list[_Coming] = []
        self._is_busy = False

    async def add(self, delivery: Delivery, token: str) -> None:
        """Let a delivered job wait, and acknowledge it.

        Raises:
            BrokerError: It is unknown whether that was stored.
        """
        each = _Coming(delivery, token, asyncio.get_running_loop().create_future())
        self._coming.append(each)
        if not self._is_busy:
            self._is_busy = True
            _ = self._connection.background.start(self._flush(), "naq-wait")
        await each.stored

    async def _flush(self) -> None:
        try:
            while self._coming:
                await self._store(self._take())
        finally:
            self._is_busy = False
            for each in self._coming:
                each.stored.cancel()

    def _take(self) -> list[_Coming]:
        """Return the first ones, as many as go well into one batch."""
        size = count = 0
        for each in self._coming[:AT_ONCE]:
            size += len(each.delivery.data)
            if count and size > MOST_BYTES:
                break
            count += 1
        taken, self._coming = self._coming[:count], self._coming[count:]
        return taken

    async def _store(self, jobs: Sequence[_Coming]) -> None:
        try:
            if not await self._stored(jobs, self._full_lists(jobs)) and not await self._stored(jobs, {}):
                for each in jobs:
                    if not await self._stored([each], {}):
                        log.debug("job %s waits already, or was moved", each.delivery.job_id)
            await ack_all([each.delivery for each in jobs])
        except BrokerError as error:
            for each in jobs:
                if not each.stored.done():  # else its task was cancelled
                    each.stored.set_exception(error)
        finally:
            for each in jobs:
                if not each.stored.done():
                    each.stored.set_result(None)

    def _full_lists(self, jobs: Sequence[_Coming]) -> dict[_Line, int]:
        """Return the lines that need no bell while a list stays as it is: who changes one that lets none start looks for more."""
        found: dict[_Line, int] = {}
        for each in jobs:
            queue, token, level = each.line
            revision = self._waiting_at((queue, token), each.delivery.job_id) if level == NORMAL else 0
            found[each.line] = min(revision, found.get(each.line, revision))
        return {line: revision for line, revision in found.items() if revision}

    async def _stored(self, jobs: Sequence[_Coming], full: Mapping[_Line, int]) -> bool:
        """Store jobs in their order, with a bell for each line whose list may let one start; return whether that was done."""
        messages: list[BrokerMessage] = []
        seen: dict[_Line, None] = {}
        for each in jobs:
            queue, token, _ = each.line
            held, (subject, body, headers) = self._pair(each)
            if each.line in full and each.line not in seen:
                places = self._connection.names.places(queue, token)
                headers = {**headers, EXPECTED_SEQUENCE: str(full[each.line]), EXPECTED_SUBJECT: places}
            seen[each.line] = None
            messages += [held, (subject, body, headers)]
        # With a check: a job may be on the list from before, as one that was to wait for its retry.
        messages += [bell(self._connection, *line, checks=True) for line in seen if line not in full]
        try:
            await publish_batch(self._connection, messages)
        except WrongSequenceError:
            return False
        return True

    def _pair(self, each: _Coming) -> list[BrokerMessage]:
        delivery = each.delivery
        headers = if_newest(self._connection, *delivery.key, delivery.sequence)
        if delivery.place:
            headers[PLACE] = delivery.place
        return waiting_pair(self._connection, (delivery.subject, delivery.data, headers), delivery.key, each.token)
