"""Keys for which jobs wait that nobody may see to, as what they waited for was deleted past NAQ (for the scheduler's sweep)."""

from collections.abc import Iterable

from naq_core.errors import UnreadableError
from naq_core.storage.bells import bell, ring
from naq_core.storage.connection import Connection
from naq_core.storage.keys import KeyPlaces, decode_places
from naq_core.storage.subjects import BELL_ID
from naq_core.transport.direct import Entry, get_many

LOST_AFTER = 5.0
"""Seconds after its time when a bell that the server was to deliver counts as deleted."""
KeyLevel = tuple[str, str, str]
"""Queue, token and priority."""


async def ring_unattended(connection: Connection, keys: Iterable[KeyLevel]) -> None:
    """Store a bell for each of these keys that has room, or whose places are those of jobs that are gone.

    A key whose jobs are there needs none, and neither does one that has a bell, or will have one at a time.

    Raises:
        BrokerError: The server did not answer in time, or not all bells were stored.
    """
    names, stream = connection.names, connection.names.jobs_stream
    wanted = list(keys)
    lists = await get_many(connection, stream, [{"last_by_subj": names.places(queue, token)} for queue, token, _ in wanted])
    rung = await get_many(
        connection, stream, [{"last_by_subj": names.any_state(queue, f"{BELL_ID}{token}")} for queue, token, _ in wanted]
    )
    now = connection.clock.now()
    full = [(key, _places(found)) for key, found, is_rung in zip(wanted, lists, rung, strict=True) if is_rung is None]
    jobs = [(queue, job_id) for (queue, *_), places in full if places.is_full for job_id in places.taken]
    found = await get_many(connection, stream, [{"last_by_subj": names.any_state(*job)} for job in jobs])
    gone = {job for job, message in zip(jobs, found, strict=True) if message is None}
    unattended = [
        key
        for key, places in full
        if not places.is_full or 0 < places.bell_at < now - LOST_AFTER or any((key[0], job_id) in gone for job_id in places.taken)
    ]
    await ring(connection, [bell(connection, *key, checks=True) for key in unattended])


def _places(found: Entry | None) -> KeyPlaces:
    try:
        return KeyPlaces({}) if found is None else decode_places(found.data)
    except UnreadableError:
        return KeyPlaces({})
