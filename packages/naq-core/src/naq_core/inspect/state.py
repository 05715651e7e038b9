"""The state of one job, in one or two reads: what programs ask for most often."""

from naq_core.names import check_job_id, check_queue
from naq_core.record import JobState
from naq_core.storage import records
from naq_core.storage.connection import Connection
from naq_core.storage.events import PLACES
from naq_core.storage.subjects import state_of_subject


async def job_state(connection: Connection, job_id: str, queue: str) -> JobState:
    """Return the state of a job: its record's, or before the first attempt that of its message's subject.

    Raises:
        JobNotFoundError: There is neither.
    """
    job_id, queue = check_job_id(job_id), check_queue(queue)
    stored = await records.read_record(connection, queue, job_id)
    if stored is not None and (stored.record.state.is_final or stored.record.state is JobState.RUNNING):
        return stored.record.state
    message = await records.find_job(connection, job_id, queue)
    if message is None:  # purged, or just ended
        latest = await records.read_record(connection, queue, job_id)
        if latest is None or latest == stored:
            raise await records.not_found(connection, job_id, queue)
        return latest.record.state
    place = PLACES.get(state_of_subject(message.subject)[0], JobState.QUEUED)
    is_retrying = stored is not None and stored.record.state is JobState.RETRYING
    return JobState.RETRYING if is_retrying and not place.is_final else place
