"""Enqueueing the callbacks of a job that has ended (`docs/adr/0053-callbacks.md`). Only workers do so."""

import hashlib
import logging
from collections.abc import Sequence

import msgspec

from naq_core.enqueue.message import count_enqueued, message_of
from naq_core.enqueue.within import within_stored
from naq_core.envelope import NO_OPTIONS, WIRE_VERSION, Callback, EndedJob, Envelope, JobOptions, encode_envelope
from naq_core.errors import (
    BrokerError,
    EnqueueSkippedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    SignatureError,
    WrongSequenceError,
)
from naq_core.record import JobRecord, JobState
from naq_core.results import signed_part
from naq_core.signing import RESULT
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_queue
from naq_core.transport.headers import MESSAGE_ID

log = logging.getLogger(__name__)

_EVENTS = {JobState.SUCCEEDED: ("on_success",), JobState.DEAD: ("on_failure", "on_dead")}
"""Which options an end calls for; any other one for `on_failure`."""


async def enqueue_callbacks(connection: Connection, record: JobRecord, options: JobOptions) -> None:
    """Enqueue what is to follow the end of a job; to do it again is safe, as the ids are made of the job and its end.

    Before the message of the job is given up: a worker that dies in between is followed by a redelivery, which does it again.
    What would fail at each redelivery too is logged and given up, as it must not keep the job: a queue that is not permitted, a
    message that is too large, an error of middleware.

    Args:
        record: Of the end.
        options: Of the job.

    Raises:
        BrokerError: Not all may be stored: do it again.
    """
    for event in _EVENTS.get(record.state, ("on_failure",)):
        callbacks: Sequence[Callback] = getattr(options, event)
        for number, callback in enumerate(callbacks):
            job_id = callback_id(record, event, number)
            try:
                await _enqueue(connection, record, callback, job_id)
            except EnqueueSkippedError as error:
                log.info("%s of job %s: %s", event, record.job_id, error)
            except (PermissionDeniedError, PayloadTooLargeError) as error:
                log.error("%s of job %s was not enqueued: %s", event, record.job_id, error)  # noqa: TRY400 - says it all
            except BrokerError:
                raise
            except Exception:
                log.exception("%s of job %s was not enqueued", event, record.job_id)


def callback_id(record: JobRecord, event: str, number: int) -> str:
    """Return the id of a callback: one for each end of a job, and it sorts by the time of that end as those of `new_id` do."""
    parts = (record.queue, record.job_id, record.run, repr(record.ended_at), event, str(number))
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
    return f"{int(record.ended_at * 1000):012x}{digest}"


async def _enqueue(connection: Connection, record: JobRecord, callback: Callback, job_id: str) -> None:
    queue = callback.queue or record.queue
    own = callback.opt or NO_OPTIONS
    headers = {**record.headers, **own.headers}
    at = connection.clock.now()
    envelope = Envelope(
        v=WIRE_VERSION,
        id=job_id,
        fn=callback.fn,
        ct=callback.ct,
        body=callback.body,
        at=at,
        by_value=callback.by_value,
        args=", ".join(part for part in (f"<outcome of {record.job_id}>" if callback.told else "", callback.args) if part),
        opt=own if headers == own.headers else msgspec.structs.replace(own, headers=headers),
        given=callback.given,
        expires=at + callback.expires_in if callback.expires_in else 0.0,
        source=callback.source,
        end=_end(connection, record, callback),
    )
    is_new = await within_stored(connection, "callback", [(queue, envelope)], lambda found: _store(connection, queue, *found))
    log.debug("job %s (%s): %s %s", record.job_id, record.state, callback.fn, job_id if is_new else f"was there: {job_id}")


def _end(connection: Connection, record: JobRecord, callback: Callback) -> EndedJob:
    last = record.errors[-1] if record.errors and record.state is JobState.DEAD else None
    end = EndedJob(
        id=record.job_id,
        queue=record.queue,
        function=record.function,
        state=record.state,
        told=callback.told,
        attempts=record.attempt,
        enqueued_at=record.enqueued_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        arguments=record.arguments,
        reason=record.reason,
        error=("", "", "") if last is None else (last.type, last.message, last.traceback),
        workflow=record.workflow,
        schedule=record.schedule,
        tags=record.tags,
        headers=record.headers,
        result_text=record.result_text,
    )
    if record.state is not JobState.SUCCEEDED or not callback.told:
        return end
    try:  # the record may be another's: what is not signed must not become part of what is signed here
        connection.signer.verify(RESULT, *signed_part(record), record.signature)
    except SignatureError as error:
        log.error("the result of job %s is not passed on to its callback: %s", record.job_id, error)  # noqa: TRY400 - says it all
        return end
    return msgspec.structs.replace(end, result_type=record.result_type, result=record.result, large=record.large)


async def _store(connection: Connection, queue: str, envelope: Envelope) -> bool:
    try:
        message = _message(connection, queue, envelope)
    except PayloadTooLargeError as error:
        if envelope.end is None or not envelope.end.result:
            raise
        log.warning("the result of job %s is not passed on to its callback: %s", envelope.end.id, error)
        end = msgspec.structs.replace(envelope.end, result_type="", result=b"")
        message = _message(connection, queue, msgspec.structs.replace(envelope, end=end))
    await ensure_queue(connection, queue, envelope.opt.priority)
    subject, body, headers = message
    try:
        await connection.publish(subject, body, {**headers, MESSAGE_ID: f"callback={queue}={envelope.id}"})
    except WrongSequenceError:
        return False
    count_enqueued(connection, queue, envelope.fn)
    return True


def _message(connection: Connection, queue: str, envelope: Envelope) -> tuple[str, bytes, dict[str, str]]:
    return message_of(connection, (queue, envelope.id), encode_envelope(envelope), envelope.fn, envelope.opt.priority)
