"""Ending a workflow, and trying again what of it has failed."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from naq_core import transitions
from naq_core.dependents import release
from naq_core.enqueue.again import put_back, with_envelope
from naq_core.enqueue.within import within_stored
from naq_core.envelope import Envelope, Parent, decode_envelope
from naq_core.errors import DecodeError, JobNotFoundError, WrongSequenceError
from naq_core.inspect.workflows import read_job_messages, read_stored
from naq_core.manage.cancel import CancelOutcome, cancel_job
from naq_core.names import check_workflow_id
from naq_core.record import JobRecord, JobState, encode_record
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key
from naq_core.storage.end_waiting import cancel_waiting
from naq_core.storage.messages import target_of
from naq_core.storage.subjects import ASIDE, WAITS, state_of_subject
from naq_core.storage.workflows import read_workflow
from naq_core.transport.headers import EXPECTED_SEQUENCE
from naq_core.transport.message import Message
from naq_core.values import text

log = logging.getLogger(__name__)

AT_ONCE = 64
PATIENCE = 5.0
"""Seconds to wait for jobs that are just ending; one whose worker has died there ends at its next delivery."""


async def cancel_workflow(connection: Connection, workflow_id: str, reason: str = "") -> int:
    """Cancel every job of a workflow that has not ended, and return how many that were.

    Those that wait for others are cancelled first, so that nothing new starts meanwhile; their calls are kept, so that
    `retry_workflow` can bring them back. Doing it again is safe, and completes what an earlier call did not.

    Raises:
        WorkflowNotFoundError: No workflow of this id is known (any more).
        BrokerError: Not all may have been cancelled; do it again.
    """
    workflow_id, reason = check_workflow_id(workflow_id), text(reason, "reason", most=1_000_000)
    _, members = await read_workflow(connection, workflow_id)
    why = reason or f"workflow {workflow_id} was cancelled"
    keys = [(member.queue, member.job_id) for member in members]
    messages = await read_job_messages(connection, keys)
    waiting = [message for message in messages.values() if WAITS in message.headers and _place(message) == "held"]
    ended = await _bounded(cancel_waiting(connection, message, why) for message in reversed(waiting))
    records = [record for record in ended if record is not None]
    done = {(record.queue, record.job_id) for record in records}
    cancelled = await _bounded(_cancel(connection, key, why) for key in keys if key not in done)
    await release(connection, *records)  # jobs outside of the workflow may wait for them
    return len(records) + sum(1 for each in cancelled if each)


async def _cancel(connection: Connection, key: Key, reason: str) -> bool:
    try:
        return await cancel_job(connection, key[1], reason, queue=key[0]) is not CancelOutcome.ALREADY_ENDED
    except JobNotFoundError:
        return False


async def retry_workflow(connection: Connection, workflow_id: str) -> int:
    """Put the failed part of a workflow back to work, and return how many jobs that are.

    These are the jobs that are dead or were cancelled, and those that were cancelled because of them: the first become ready
    again, the others wait again. What has succeeded is not repeated, and its results are used. A job whose call is not kept
    any more (`NAQ_DEAD_TTL`) stays as it is, and what depends on it is cancelled again.

    Raises:
        WorkflowNotFoundError: No workflow of this id is known (any more).
        BrokerError: Perhaps not all jobs were requeued; repeat the call.
    """
    _, members = await read_workflow(connection, check_workflow_id(workflow_id))
    keys = [(member.queue, member.job_id) for member in members]
    messages, stored = await _settled(connection, keys)
    failed = {key: messages[key] for key in keys if key in messages and _may_be_retried(messages[key], stored.get(key))}
    envelopes = [decode_envelope(message.data) for message in failed.values()]

    async def send(wanted: Sequence[Envelope]) -> None:
        await _bounded(_reset(connection, *stored[key]) for key in failed if key in stored)
        changed = zip(failed.items(), wanted, envelopes, strict=True)
        await put_back(
            connection,
            {key: with_envelope(connection, each, new, is_changed=new is not old) for (key, each), new, old in changed},
        )

    if failed:
        queues = [queue for queue, _ in failed]
        await within_stored(connection, "requeue", [*zip(queues, envelopes, strict=True)], send)
    log.info("workflow %s: %d jobs were requeued", workflow_id, len(failed))
    return len(failed)


async def _settled(connection: Connection, keys: Sequence[Key]) -> tuple[dict[Key, Message], dict[Key, tuple[JobRecord, int]]]:
    """Return messages and records, once none of the jobs is between its end and its place among the dead ones."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    while True:
        messages = await read_job_messages(connection, keys)
        stored = await read_stored(connection, keys)
        failed = {key for key, (record, _) in stored.items() if record.state.is_final and record.state is not JobState.SUCCEEDED}
        ending = [key for key, message in messages.items() if _place(message) not in ASIDE and _is_ending(key, message, failed)]
        if not ending or loop.time() > until:
            return messages, stored
        await asyncio.sleep(0.05)


def _is_ending(key: Key, message: Message, failed: set[Key]) -> bool:
    """Return whether a live job has failed, or waits in vain for one that has."""
    if key in failed:
        return True
    if WAITS not in message.headers:
        return False
    try:
        after = decode_envelope(message.data).after
    except DecodeError:
        return False
    return any(not parent.lenient and _is_one_of(parent, failed) for parent in after)


def _place(message: Message) -> str:
    return state_of_subject(message.subject)[0]


def _may_be_retried(message: Message, stored: tuple[JobRecord, int] | None) -> bool:
    """Return whether a job has failed and is kept whole; also one whose retry broke off before it was moved."""
    if _place(message) not in ASIDE or target_of(message) is None:
        return False
    try:
        decode_envelope(message.data)
    except DecodeError:
        return False
    if stored is None:
        return True
    return stored[0].state in {JobState.DEAD, JobState.CANCELLED, JobState.QUEUED}


def _is_one_of(parent: Parent, keys: set[Key]) -> bool:
    if parent.queue != "*":
        return (parent.queue, parent.id) in keys
    return any(parent.id == job_id for _, job_id in keys)


async def _reset(connection: Connection, record: JobRecord, revision: int) -> None:
    """Make the record that of a job that has not begun, so that neither workers nor children take it for ended."""
    if not record.state.is_final:
        return
    transitions.put_back(record, "requeued with its workflow")
    subject = connection.names.result(record.queue, record.job_id)
    try:
        await connection.publish(subject, encode_record(record), {EXPECTED_SEQUENCE: str(revision)})
    except WrongSequenceError:
        log.info("job %s was requeued by another process", record.job_id)


async def _bounded(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Run coroutines, some at a time, and return what they return."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async with room:
            return await coroutine

    return list(await asyncio.gather(*(one(each) for each in work)))
