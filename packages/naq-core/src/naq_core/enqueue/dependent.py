"""Putting jobs that wait for others on their subjects: held, with an edge for each parent, as one atomic batch."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from naq_core.call import JobCall
from naq_core.dependents import Dependents
from naq_core.enqueue.message import waiting_messages
from naq_core.enqueue.order import in_order
from naq_core.envelope import Parent
from naq_core.errors import BrokerError, BrokerTimeoutError, DuplicateJobError, EnqueueUnknownError, WrongSequenceError
from naq_core.names import is_signal
from naq_core.storage.connection import Connection
from naq_core.storage.records import queues_of, the_queue
from naq_core.storage.topology import ensure_queue
from naq_core.transport.batch import batches, publish_batch
from naq_core.transport.errors import DisconnectedError
from naq_core.transport.headers import FIRST
from naq_core.transport.repeat import BrokerMessage

log = logging.getLogger(__name__)

AT_ONCE = 100
"""Ids that are looked up side by side."""


async def find_parents(connection: Connection, jobs: Sequence[JobCall[Any]]) -> None:
    """Note the queue of each parent that was named by its id alone; one that is not known (yet) stays as it is.

    A job of the child's own queue is meant first, then one of any other.

    Raises:
        AmbiguousJobError: Not the child's queue, but several others have a job of that id; nothing was sent.
    """
    ids = list(dict.fromkeys(parent.id for job in jobs for parent in job.wiring.after if _is_sought(parent)))
    if not ids:
        return
    queues: dict[str, set[str]] = {job_id: set() for job_id in ids}
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        for job_id, found in zip(part, await asyncio.gather(*(queues_of(connection, each) for each in part)), strict=True):
            queues[job_id].update(found)
    for job in jobs:
        if job.job_id in queues:
            queues[job.job_id].add(job.queue)
    for job in jobs:
        after = job.wiring.after
        if any(map(_is_sought, after)):
            job.wiring = job.wiring._replace(after=tuple(_placed(parent, queues, job.queue) for parent in after))


def _is_sought(parent: Parent) -> bool:
    return parent.queue == "*" and not is_signal(parent.id)


def _placed(parent: Parent, queues: Mapping[str, Iterable[str]], preferred: str) -> Parent:
    if not _is_sought(parent):
        return parent
    return Parent(parent.id, the_queue(parent.id, sorted(queues[parent.id]), preferred) or "*", parent.lenient)


async def submit_wired(connection: Connection, jobs: Sequence[JobCall[Any]], messages: Sequence[BrokerMessage]) -> bool:
    """Enqueue jobs of which some wait for others.

    Up to 1,000 messages (a job is one, and one for each parent) are one atomic batch. More are stored in stages: first those
    that wait, then, all at once where they fit, those that can start. A crash in between leaves jobs whose parents were never
    stored: they are cancelled, with a reason that says so, when the server's timer has them looked at.

    Args:
        messages: What `job_message` made of each job.

    Returns:
        Whether it was atomic.

    Raises:
        WorkflowError: They wait for each other in a circle; nothing was enqueued.
        DuplicateJobError: A job of the atomic batch exists already; nothing was enqueued.
        EnqueueUnknownError: Names the jobs of which it is unknown whether they were stored.
    """
    in_order(jobs)
    for queue, level in {(job.queue, job.options.priority) for job in jobs}:
        await ensure_queue(connection, queue, level)
    waiting = [
        waiting_messages(connection, (job.queue, job.job_id), message, job.wiring.after, job.expires)
        for job, message in zip(jobs, messages, strict=True)
        if job.wiring.after
    ]
    roots = [message for job, message in zip(jobs, messages, strict=True) if not job.wiring.after]
    stages = batches([*waiting, *([root] for root in roots)])
    try:
        for batch in stages:
            await _store(connection, batch, jobs, atomic=len(stages) == 1)
    except DuplicateJobError:
        if len(jobs) == 1:  # perhaps stored by somebody who died before looking at its parents
            await _look(connection, jobs)
        raise
    except (BrokerTimeoutError, DisconnectedError) as error:
        raise EnqueueUnknownError([job.job_id for job in jobs], str(error)) from error
    await _look(connection, jobs)
    return len(stages) == 1


async def _store(connection: Connection, batch: list[BrokerMessage], jobs: Sequence[JobCall[Any]], *, atomic: bool) -> None:
    try:
        await publish_batch(connection, batch)
    except WrongSequenceError as error:
        if atomic:
            raise DuplicateJobError(jobs[0].job_id if len(jobs) == 1 else "of the batch") from error
        for message in batch:  # a part of it is there, from an enqueue that is now repeated
            await _store_one(connection, message)


async def _store_one(connection: Connection, message: BrokerMessage) -> None:
    subject, body, headers = message
    try:
        await connection.publish(subject, body, {name: value for name, value in headers.items() if name != FIRST})
    except WrongSequenceError:
        return


async def _look(connection: Connection, jobs: Sequence[JobCall[Any]]) -> None:
    """Look at parents that may have ended before the jobs were stored; those of the same batch cannot have."""
    stored = {(job.queue, job.job_id) for job in jobs}
    ids = {job.job_id for job in jobs}
    outside = [
        ((job.queue, job.job_id), job.wiring.after)
        for job in jobs
        if any((each.queue, each.id) not in stored and not (each.queue == "*" and each.id in ids) for each in job.wiring.after)
    ]
    if not outside:
        return
    try:
        await Dependents(connection).look(outside)
    except BrokerError as error:  # they are stored, so the enqueue has succeeded
        log.warning("%d jobs wait until a scheduler checks their parents: %s", len(outside), error)
