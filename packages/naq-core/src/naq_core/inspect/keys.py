"""The keys for which jobs of a queue wait."""

from naq_core.envelope import decode_envelope
from naq_core.errors import DecodeError, UnreadableError
from naq_core.names import is_job_id
from naq_core.storage.connection import Connection
from naq_core.storage.keys import decode_places
from naq_core.storage.subjects import ALL, BELL_ID
from naq_core.storage.waiting_entries import id_of_entry
from naq_core.transport.direct import Entry, count_many, get_many
from naq_core.transport.many import read_some
from naq_core.views import WaitingKey

LOOKED_AT = 500
"""Jobs that wait longest, whose keys are found."""
MOST = 5


async def waiting_keys(connection: Connection, queue: str) -> list[WaitingKey]:
    """Return some keys for which jobs of a queue wait, those of the jobs that wait longest first.

    The cost does not depend on how many jobs and keys there are: any replica answers four requests of bounded size.
    """
    names, stream = connection.names, connection.names.jobs_stream
    oldest: dict[str, str] = {}
    for entry in (await read_some(connection, stream, names.waits_for_key(queue, "*"), LOOKED_AT)).messages:
        oldest.setdefault(entry.subject.rsplit(".", 2)[1], id_of_entry(entry))
    tokens = [token for token in oldest if token != ALL][:MOST]
    if not tokens:
        return []
    ids = [job_id if is_job_id(job_id) else BELL_ID for job_id in (oldest[token] for token in tokens)]
    counts = await count_many(connection, stream, [names.waits_for_key(queue, token) for token in tokens])
    lists = await get_many(connection, stream, [{"last_by_subj": names.places(queue, token)} for token in tokens])
    jobs = await get_many(connection, stream, [{"last_by_subj": names.held(queue, job_id)} for job_id in ids])
    found = zip(tokens, counts, lists, jobs, strict=True)
    return [
        WaitingKey(key=_key_of(token, job), waiting=count, ahead=_ahead(places)) for token, count, places, job in found if count
    ]


def _key_of(token: str, job: Entry | None) -> str:
    """Return the key as the job has it; only its token is known where that was started or has ended meanwhile."""
    try:
        return token if job is None else decode_envelope(job.data).opt.key or token
    except DecodeError:
        return token


def _ahead(places: Entry | None) -> list[str]:
    try:
        return [] if places is None else sorted(decode_places(places.data).taken)
    except UnreadableError:
        return []
