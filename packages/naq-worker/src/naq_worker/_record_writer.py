"""The record of a job that a worker runs: written by compare-and-set, so that a job that was taken over is noticed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import msgspec

from naq_core.errors import JetStreamError, MissingError, PayloadTooLargeError, PermissionDeniedError, WrongSequenceError
from naq_core.record import JobRecord, JobState, encode_record, record_at
from naq_core.storage.connection import Connection
from naq_core.storage.events import record_headers
from naq_core.storage.records import find_job
from naq_core.transport.headers import EXPECTED_SEQUENCE, TTL, ttl_text
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last
from naq_worker._active import Claim
from naq_worker._backpressure import Backpressure

log = logging.getLogger(__name__)

T = TypeVar("T")

INSIST = 0.1
"""Seconds after which what the server has refused is tried again, the first time."""
REFUSED = (JetStreamError, MissingError, PermissionDeniedError)


class LostError(Exception):
    """Another worker owns the job now: its result is discarded and nothing is acknowledged."""


class RecordWriter:
    """Writes records for one worker."""

    def __init__(self, connection: Connection, backpressure: Backpressure) -> None:
        self._connection = connection
        self._backpressure = backpressure

    async def write(self, claim: Claim, ttl: float | None, *, progress: bool = False, insists: bool = True) -> None:
        """Compare-and-set the record.

        Args:
            ttl: Seconds for which it is kept; None: without an end.
            progress: It is written for its progress or lines alone.
            insists: Try on while the server refuses it.

        Raises:
            LostError: Another worker owns it now.
            PayloadTooLargeError: The record is larger than the server accepts.
        """
        record = claim.record
        headers = record_headers(record, claim.revision, progress=progress)
        if ttl is not None:
            headers[TTL] = ttl_text(ttl)
        body = encode_record(record)
        try:
            self._connection.check_size(f"the record of job {record.job_id}", len(body))
        except PayloadTooLargeError:
            if not record.errors or record.result:
                raise
            record.errors = [
                msgspec.structs.replace(each, message=each.message[:200], traceback="") for each in record.errors[-3:]
            ]
            body = encode_record(record)
        subject = self._connection.names.result(record.queue, record.job_id)
        try:
            store = partial(self._connection.publish, subject, body, headers)
            claim.revision = await (self.insist(record, store) if insists else store())
        except WrongSequenceError as error:
            found = await read_last(self._connection, self._connection.names.results_stream, subject)
            if found is not None and found.data:
                if not _is_own(found, record):
                    raise LostError from error
                claim.revision = found.sequence  # of an earlier write, whose outcome has stayed unknown
                await self.write(claim, ttl, progress=progress, insists=insists)
                return
            claim.revision = await self._write_again(record, headers, body, 0 if found is None else found.sequence)

    async def _write_again(self, record: JobRecord, headers: dict[str, str], body: bytes, marker: int) -> int:
        """Write the record of a job whose record was deleted under it, with its bucket or by a purge; return its revision.

        While the job's message is there it is still this worker's: another one would have left a record.

        Args:
            marker: The sequence of the marker that the deletion left; 0 without one.

        Raises:
            LostError: The job was deleted, or another worker has it now.
        """
        if await find_job(self._connection, record.job_id, record.queue) is None:
            raise LostError
        subject = self._connection.names.result(record.queue, record.job_id)
        try:
            return await self._connection.publish(subject, body, {**headers, EXPECTED_SEQUENCE: str(marker)})
        except WrongSequenceError as error:
            raise LostError from error

    async def insist(self, record: JobRecord, store: Callable[[], Awaitable[T]]) -> T:
        """Store how an attempt ended, and try on while the server refuses it: a stream is full, a right was taken.

        The work is done and only its record is missing: giving up before the budget is used up would throw it away.
        """
        deadline = self._connection.budget()
        try:
            stored = await store()
        except WrongSequenceError:
            raise
        except REFUSED as error:
            if self._connection.is_past(deadline):
                raise
            problem = "job %s finished, but its outcome cannot be stored yet: %s; retrying"
            log.error(problem, record.job_id, error)  # noqa: TRY400 - the error says it all
            # A right is lacking for a claim as well as for an end, and perhaps for one queue alone: claims hold jobs back then.
            with nullcontext() if isinstance(error, PermissionDeniedError) else self._backpressure.retrying():
                return await self._store_again(store, deadline)
        self._backpressure.note_stored()
        return stored

    async def _store_again(self, store: Callable[[], Awaitable[T]], deadline: float) -> T:
        pause = INSIST
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
            try:
                return await store()
            except WrongSequenceError:
                raise
            except REFUSED:
                if self._connection.is_past(deadline):
                    raise


def _is_own(found: Message, record: JobRecord) -> bool:
    """Return whether a stored record is that of this very attempt: its claim, or the news of the running job."""
    stored = record_at(found.subject, found.data)
    return (
        stored is not None
        and stored.state is JobState.RUNNING
        and (stored.worker, stored.run, stored.started_at) == (record.worker, record.run, record.started_at)
    )
