"""A job: a call that, once it is enqueued, has a life that can be followed."""

from __future__ import annotations

from typing import Any, TypeVar

from naq_core import names
from naq_core.call import JobCall
from naq_core.deadlock import deadlock_watch
from naq_core.dependency import Wiring
from naq_core.envelope import decode_envelope
from naq_core.errors import JobError, JobNotFoundError
from naq_core.functions import unwrap
from naq_core.inspect import get_job, job_state
from naq_core.manage import CancelOutcome, cancel_job
from naq_core.record import JobRecord, JobState
from naq_core.results import fetch_outcome, outcome
from naq_core.serialization import JSON, Call
from naq_core.settings import Settings
from naq_core.signing import Signer
from naq_core.storage import records
from naq_core.storage.shared import shared_connections
from naq_core.storage.waiting import wait_for_end
from naq_core.typed_json import convert_result
from naq_core.values import patience
from naq_core.views import JobView

R_co = TypeVar("R_co", covariant=True)


class Job(JobCall[R_co]):
    """One call of a function, to be made by a worker, which can be followed once it is enqueued.

    Args:
        function: Anything callable, or its name as `"module:function"`.
        args: Positional arguments.
        kwargs: Keyword arguments.
        max_retries: How many times a failed job is retried.
        retry_delay: Seconds or `timedelta` before each retry, or a list of them.
        job_id: A chosen id makes the enqueue idempotent; by default a new one that sorts by time.
        queue: Name of the queue; by default the one that a task declares, else `default`.
        serializer: `pickle` or `json`; by default the setting `job_serializer`.
        options: All options instead of those by name, for queues and tasks; what a task declares is not added to them.
        more: Any other option of `naq_core.options.EnqueueOptions`. What is not given is as the task declares.

    Raises:
        InvalidOptionError, InvalidNameError: An option or a name is wrong.
    """

    __slots__ = ()

    @classmethod
    def deserialize(
        cls, data: bytes, *, queue: str = "default", serializer: str | None = None, settings: Settings | None = None
    ) -> Job[Any]:
        """Read a job's wire form; function and arguments are decoded when they are asked for.

        Args:
            settings: Whose `signing_key` and `namespace` the job is verified with; by default those of the environment.

        Raises:
            DecodeError: The bytes are no job; `UnknownWireVersionError` where a newer NAQ wrote them, `SignatureError` where
                they are not signed as `signing_key` asks.
        """
        settings = settings or Settings.load()
        envelope = decode_envelope(data)
        Signer(settings.signing_key, settings.namespace).open(data, queue, envelope.id)
        job: Job[Any] = cls("", job_id=envelope.id, queue=queue, serializer=serializer)
        job.options, job._given = envelope.opt, envelope.given
        job._call = Call(envelope.fn, envelope.body, envelope.ct, envelope.by_value, envelope.source)
        job.run, job.enqueued_at, job.workflow = envelope.run, envelope.at, envelope.workflow
        job.wiring = Wiring(envelope.after, envelope.fill, envelope.tell)
        job._large, job._preview, job.expires = envelope.large, envelope.args, envelope.expires
        return job

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait for the job to end and return what its function returned.

        Args:
            timeout: Seconds to wait; None waits as long as it takes, 0 looks once.

        Raises:
            JobFailedError, JobCancelledError, JobExpiredError: It ended otherwise.
            JobNotFoundError: Nothing is left of it: its record has expired, or it was deleted. Looked for after a second of
                waiting, and then less and less often.
            JobTimeoutError: It has not ended yet; it goes on.
        """
        timeout = patience(timeout)
        if self.options.fast:
            raise JobError(self.job_id, "was enqueued with fast=True, which stores no result")
        ended, self._ended = self._ended, None
        if ended is not None:
            return await self.outcome(ended)
        connection = await self.connection.here()
        watch = deadlock_watch(connection)
        stored = await wait_for_end(connection, self.queue, self.job_id, timeout, self.is_end, watch, self.enqueued_at)
        return await self.outcome(stored.record)

    async def outcome(self, record: JobRecord) -> R_co:
        """Return the result in the job's final record, or raise what the job ended in (for `gather` and its like)."""
        result: R_co = await outcome(await self.connection.here(), record, self.serializer)
        if record.result_type == JSON and callable(self._function) and self._serializer_name() == JSON:
            result = convert_result(unwrap(self._function), result)
        return result

    def keep_end(self, record: JobRecord) -> None:
        """Answer the next `result()` with this final record (for `as_completed`)."""
        self._ended = record

    async def cancel(self, reason: str = "") -> CancelOutcome:
        """End the job as cancelled, whether it waits, is held or runs, and say which it was.

        Args:
            reason: For people; kept in the record and in the `JobCancelledError` of those who wait.

        Raises:
            JobNotFoundError: Neither job nor record exists (any more).
            BrokerError: It is unknown whether it was cancelled; do it again.
        """
        return await cancel_job(await self.connection.here(), self.job_id, reason, queue=self.queue)

    async def status(self) -> JobState:
        """Return the job's state as it is now.

        Raises:
            JobNotFoundError: Neither job nor record exists (any more).
        """
        return await job_state(await self.connection.here(), self.job_id, self.queue)

    async def view(self) -> JobView:
        """Return all that is known of the job: state, attempts with their errors, progress, log lines, parents and children.

        Raises:
            JobNotFoundError: Neither job nor record exists (any more).
        """
        return await get_job(await self.connection.here(), self.job_id, self.queue)

    async def record(self) -> JobRecord | None:
        """Return what is known of the job's attempts, or None before the first one."""
        stored = await records.read_record(await self.connection.here(), self.queue, self.job_id)
        return None if stored is None else stored.record

    @staticmethod
    async def fetch_result(
        job_id: str,
        nats_url: str | None = None,
        *,
        timeout: float | None = 0,
        settings: Settings | None = None,
        queue: str | None = None,
    ) -> Any:
        """Return the result of a job by its id, over a connection that all such calls of this event loop share.

        Args:
            job_id: The id, or `id@queue`.
            nats_url: The server; by default the setting.
            timeout: Seconds to wait for the job's end; None as long as it takes, 0 not at all.
            settings: Ready settings, instead of those of the environment.
            queue: The job's queue; by default it is looked for in all.

        Raises:
            AmbiguousJobError: No queue was given, and several have a job of this id.
            JobNotFoundError: No such job. JobTimeoutError: It has not ended. JobFailedError and so on: It ended otherwise.
        """
        job_id, queue = names.check_place(job_id, queue or "*")
        timeout = patience(timeout)
        connection = await shared_connections(settings or Settings.load(nats_url=nats_url)).get()
        return await fetch_outcome(connection, job_id, timeout, queue)

    @staticmethod
    async def fetch_record(
        job_id: str, nats_url: str | None = None, *, settings: Settings | None = None, queue: str | None = None
    ) -> JobRecord:
        """Return the record of a job by its id; see `fetch_result`.

        Raises:
            AmbiguousJobError: No queue was given, and several have a job of this id.
            JobNotFoundError: No attempt was made yet, or the record has passed its time to live.
        """
        job_id, queue = names.check_place(job_id, queue or "*")
        connection = await shared_connections(settings or Settings.load(nats_url=nats_url)).get()
        stored, _ = await records.look_up(connection, job_id, queue)
        if stored is None:
            raise JobNotFoundError(job_id, queue)
        return stored.record
