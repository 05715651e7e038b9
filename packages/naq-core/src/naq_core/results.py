"""What a final record holds: the result, or the error that the job ended in."""

from typing import Any

from naq_core.errors import JobCancelledError, JobExpiredError, JobFailedError, JobNotFoundError
from naq_core.record import JobRecord, JobState
from naq_core.serialization import decode_result
from naq_core.signing import RESULT
from naq_core.storage import objects
from naq_core.storage.connection import Connection
from naq_core.storage.records import look_up
from naq_core.storage.subjects import state_of_subject
from naq_core.storage.waiting import wait_for_end


def signed_part(record: JobRecord) -> tuple[tuple[str, ...], bytes]:
    """Return names and bytes that a result's signature binds."""
    where, result = ("here", record.result) if record.large is None else ("large", record.large.digest)
    return (record.queue, record.job_id), f"{record.run}\0{record.result_type}\0{where}\0".encode() + result


def sign_result(connection: Connection, record: JobRecord) -> None:
    """Sign the result in a record, where this process has a key."""
    if connection.signer:
        record.signature = connection.signer.sign(RESULT, *signed_part(record))


async def result_bytes(connection: Connection, record: JobRecord) -> bytes:
    """Return the encoded result of a job that has succeeded, verified, from the record or the object store.

    Raises:
        SignatureError: It does not bear the signature that `signing_key` asks for.
        LargePayloadError: It was large, and is gone.
    """
    if connection.signer:
        connection.signer.verify(RESULT, *signed_part(record), record.signature)
    return record.result if record.large is None else await objects.get(connection, record.large)


async def outcome(connection: Connection, record: JobRecord, serializer: str | None = None) -> Any:
    """Return the result in a final record, or raise what the job ended in.

    Args:
        serializer: What may be decoded here; by default the setting `job_serializer`.

    Raises:
        JobFailedError, JobCancelledError, JobExpiredError: It did not succeed.
        SignatureError: The result does not bear the signature that `signing_key` asks for; it was not decoded.
        LargePayloadError: It was large, and is gone.
        DecodeError: It cannot be decoded here.
    """
    match record.state:
        case JobState.SUCCEEDED:
            data = await result_bytes(connection, record)
            if not record.result_type:
                return None
            return decode_result(record.result_type, data, serializer or connection.settings.job_serializer)
        case JobState.CANCELLED:
            raise JobCancelledError(record.job_id, record.reason)
        case JobState.EXPIRED:
            raise JobExpiredError(record.job_id, record.reason)
        case _:
            last = record.errors[-1] if record.errors else None
            if last is None:
                raise JobFailedError(record.job_id, "Error", record.reason or "no reason was recorded")
            raise JobFailedError(record.job_id, last.type, last.message, last.traceback)


async def fetch_end(connection: Connection, job_id: str, timeout: float | None = 0, queue: str = "*") -> JobRecord:
    """Return the record of a job's end by its id alone.

    Args:
        timeout: Seconds to wait for the end; None as long as it takes, 0 not at all.
        queue: Its queue; `*` where it is not known.

    Raises:
        JobNotFoundError: There is neither a job nor a record of this id.
        AmbiguousJobError: The queue is not known, and several have a job of this id.
        JobTimeoutError: It has not ended; it goes on.
    """
    stored, message = await look_up(connection, job_id, queue)
    if message is not None:
        queue = state_of_subject(message.subject)[1]
    elif stored is not None:
        queue = stored.record.queue
    else:
        raise JobNotFoundError(job_id, queue)
    if stored is None or not stored.record.state.is_final:
        stored = await wait_for_end(connection, queue, job_id, timeout)
    return stored.record


async def fetch_outcome(connection: Connection, job_id: str, timeout: float | None = 0, queue: str = "*") -> Any:
    """Return the result of a job by its id alone, or raise what it ended in.

    Args:
        timeout, queue: As of `fetch_end`.

    Raises:
        JobNotFoundError, AmbiguousJobError, JobTimeoutError: As of `fetch_end`.
        JobFailedError, JobCancelledError, JobExpiredError: It did not succeed; see `outcome` for what else.
    """
    return await outcome(connection, await fetch_end(connection, job_id, timeout, queue))
