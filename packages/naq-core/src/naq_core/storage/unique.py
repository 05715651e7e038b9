"""One id, several runs one after the other: where the next one may be stored, and whose the record is.

A unique key is a job id of its own, so the server's compare-and-set keeps out a second live job. What is left to do is to tell
a live job from one that is kept dead or has ended a moment ago, and to see to it that an old run can neither run nor
answer for a new one (`docs/adr/0008-unique-jobs.md`).
"""

import asyncio
from typing import NamedTuple

from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.messages import run_of
from naq_core.storage.records import peek_record, read_record, write_record
from naq_core.storage.subjects import ASIDE, SCHEDULED, state_of_subject
from naq_core.transport.headers import EXPECTED_SEQUENCE, SCHEDULE_NEXT, SCHEDULER
from naq_core.transport.many import read_many
from naq_core.transport.message import Message

PATIENCE = 1.0
"""Seconds to wait for the acknowledgement of a job that has ended; it comes right after the record of the end."""
PAUSE = 0.005
UNSTARTED = frozenset({JobState.QUEUED, JobState.HELD})
"""Not claimed yet, or handed back by a worker that stopped. One in a short back-off is not: it has been started."""


class Place(NamedTuple):
    """What is stored where the next run of an id is to go."""

    newest: int = 0
    """Stream sequence of the newest message of the id, to compare-and-set against; 0 without one."""
    live: Message | None = None
    """The job that is queued, held or running."""
    run: str = ""
    """Its run token."""
    is_waiting: bool = True
    """No worker has started it."""
    spent: Message | None = None
    """An archived job, which does not block its key."""

    def headers(self, subject: str, *, replace: bool) -> dict[str, str]:
        """Return what makes a publish to `subject` take this place, in one step with the removal of what it replaces."""
        headers = {EXPECTED_SEQUENCE: str(self.newest)}
        old = self.live if replace else self.spent
        if old is not None and state_of_subject(old.subject)[0] in SCHEDULED and old.subject != subject:
            headers |= {SCHEDULER: old.subject, SCHEDULE_NEXT: "purge"}
        return headers


async def find_place(connection: Connection, queue: str, job_id: str) -> Place:
    """Look at all messages of an id; one that has ended is given a moment to be acknowledged."""
    names = connection.names
    subject = names.any_state(queue, job_id)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        messages = await read_many(connection, names.jobs_stream, [subject], subject)
        newest = max((message.sequence for message in messages), default=0)
        live = [message for message in messages if state_of_subject(message.subject)[0] not in ASIDE]
        spent = next((message for message in messages if message not in live), None)
        if not live:
            return Place(newest, spent=spent)
        current = max(live, key=lambda message: message.sequence)
        run = run_of(current)
        if state_of_subject(current.subject)[0] == "held":
            return Place(newest, current, run, spent=spent)
        stored = await read_record(connection, queue, job_id)
        record = None if stored is None or stored.record.run != run else stored.record
        if record is None or not record.state.is_final or loop.time() > deadline:
            return Place(newest, current, run, is_waiting=record is None or record.state in UNSTARTED, spent=spent)
        await asyncio.sleep(PAUSE)


async def hand_over_record(connection: Connection, fresh: JobRecord, *, retire: bool) -> bool:
    """Make an id's record that of the run that was just stored, unless an earlier one is running.

    The record of an ended job would answer those who ask for the new one. With `retire` an older run is on the ready
    subject still: once the record is the new one's, no worker can claim the old one.

    Args:
        fresh: The new record, QUEUED or HELD, with run and sequence.

    Returns:
        Whether an older run cannot begin any more; False where one has begun.
    """
    while True:
        stored = await (read_record if retire else peek_record)(connection, fresh.queue, fresh.job_id)
        if stored is None and not retire:
            return True
        if stored is not None:
            old = stored.record
            if old.run == fresh.run or old.sequence > fresh.sequence:
                return True
            if old.state is JobState.RUNNING or (not retire and not old.state.is_final):
                return False
        ttl = connection.settings.failure_ttl.total_seconds()
        if await write_record(connection, fresh, 0 if stored is None else stored.revision, ttl) is not None:
            return True
        retire = True  # read from the leader
