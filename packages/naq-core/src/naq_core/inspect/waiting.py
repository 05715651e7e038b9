"""Waiting for a job by its id alone, and its result as text: nothing is unpickled."""

from naq_core.inspect.jobs import get_job
from naq_core.names import check_place
from naq_core.results import result_bytes
from naq_core.serialization import JSON
from naq_core.storage.connection import Connection
from naq_core.storage.records import look_up
from naq_core.storage.waiting import wait_for_end
from naq_core.values import patience
from naq_core.views import JobView


async def wait_for_job(connection: Connection, job_id: str, timeout: float | None = None) -> JobView:
    """Wait until a job has ended, however, and return what is known of it then.

    Args:
        timeout: Seconds; None waits as long as it takes.

    Raises:
        JobNotFoundError: There is neither a job nor a record of this id, or not any more.
        AmbiguousJobError: Several queues have a job of this id: give `id@queue`.
        JobTimeoutError: It has not ended; it goes on.
    """
    timeout = patience(timeout)
    job = await get_job(connection, job_id)
    if job.state.is_final:
        return job
    await wait_for_end(connection, job.queue, job.job_id, timeout)
    return await get_job(connection, job.job_id, job.queue)


async def read_json_result(connection: Connection, job_id: str) -> bytes | None:
    """Return the whole result of a job that stored it as JSON, else None.

    Raises:
        AmbiguousJobError: Several queues have a job of this id: give `id@queue`.
        SignatureError: It does not bear the signature that `signing_key` asks for.
        LargePayloadError: It was large, and is gone.
    """
    stored, _ = await look_up(connection, *check_place(job_id))
    if stored is None or not stored.record.state.is_final or stored.record.result_type != JSON:
        return None
    return await result_bytes(connection, stored.record) or None
