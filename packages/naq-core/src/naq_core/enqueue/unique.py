"""Enqueueing jobs of which only one may be live at a time, or only the last of a burst is wanted."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from naq_core import transitions
from naq_core.call import JobCall
from naq_core.delivery_options import Clash
from naq_core.enqueue.message import job_message
from naq_core.errors import (
    BrokerError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DuplicateJobError,
    EnqueueUnknownError,
    InvalidOptionError,
    WrongSequenceError,
)
from naq_core.names import is_signal
from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.messages import free_place, remove, remove_arguments
from naq_core.storage.records import Stored, peek_record
from naq_core.storage.subjects import state_of_subject
from naq_core.storage.topology import ensure_queue
from naq_core.storage.unique import Place, find_place, hand_over_record
from naq_core.storage.windows import NO_WINDOW, FoundWindow, KeyWindow, read_window, window_message
from naq_core.tasks import beside
from naq_core.transport.batch import BATCH_LIMIT, publish_batch
from naq_core.transport.headers import EXPECTED_SEQUENCE, EXPECTED_SUBJECT
from naq_core.transport.repeat import BrokerMessage


def check_ties(job: JobCall[Any]) -> None:
    """Refuse what does not go together with waiting for other jobs.

    Raises:
        InvalidOptionError: The job's options say something else.
    """
    delivery = job.delivery
    is_held = all(is_signal(parent.id) for parent in job.wiring.after)
    what, when = ("wait_for", "its signal is sent") if is_held else ("depends_on", "its parents have ended")
    for name, given in (("at", delivery.at), ("delay", delivery.delay), ("debounce", delivery.debounce)):
        if given:
            raise InvalidOptionError(name, f"cannot be combined with {what}: the job starts when {when}")
    if delivery.unique_for:
        raise InvalidOptionError("unique_for", f"cannot be combined with {what}, and neither can throttle")
    if delivery.on_clash is not Clash.REFUSE:
        raise InvalidOptionError("on_clash", f"a job with {what} supports 'refuse' only")


def check_many(job: JobCall[Any]) -> None:
    """Refuse what a batch cannot do.

    Raises:
        InvalidOptionError: The job's options ask for it.
    """
    if job.delivery.unique_for:
        raise InvalidOptionError("unique_for", "cannot be used in enqueue_many, and neither can throttle: enqueue it alone")
    if job.delivery.debounce or job.delivery.on_clash is not Clash.REFUSE:
        name = "debounce" if job.delivery.debounce else "on_clash"
        raise InvalidOptionError(name, "enqueue_many stores all jobs or none and can only refuse: enqueue this job separately")
    if job.wiring.after:
        check_ties(job)
    if job.options.key and job.delivery.unique:
        raise InvalidOptionError("unique", "enqueue jobs that have both a key and a unique key one by one")


async def submit_unique(connection: Connection, job: JobCall[Any]) -> bool:
    """Enqueue a job with a `unique` key.

    Returns:
        Whether it is new; False where the live job of the key is returned instead.

    Raises:
        DuplicateJobError: There is one, and it is neither to be returned nor to be replaced.
        EnqueueUnknownError: The server could not be asked whether it was stored. BrokerError: It was not stored.
    """
    if job.options.fast:
        raise InvalidOptionError("unique", "cannot be combined with fast=True, which stores no record of the job's end")
    message = job_message(connection, job)
    await ensure_queue(connection, job.queue, job.options.priority)
    job.bind(connection)
    # On its way together with the job: a key that was never used before costs no second round trip.
    async with beside(peek_record(connection, job.queue, job.job_id)) as look:
        return await _submit(connection, job, message, look)


async def _submit(
    connection: Connection, job: JobCall[Any], message: BrokerMessage, look: "asyncio.Future[Stored | None]"
) -> bool:
    if job.delivery.debounce:
        await _debounce(connection, job, message, look)
        return True
    try:
        is_new, place = await _store_or_adopt(connection, job, message)
    except (BrokerTimeoutError, BrokerUnavailableError) as error:
        raise EnqueueUnknownError([job.job_id], str(error)) from error
    if is_new and (place != Place() or not await _has_nothing_to_hand_over(look)):
        await _take_over(connection, job, place)
    return is_new


async def _store_or_adopt(connection: Connection, job: JobCall[Any], message: BrokerMessage) -> tuple[bool, Place]:
    """Store a job, unless another one has the key, which the handle then stands for; return whether it is new, and its place."""
    place, window = Place(), NO_WINDOW
    while True:
        try:
            job.sequence = await _store(connection, job, placed(connection, job, message, place), window)
        except WrongSequenceError:
            place, window = await _look(connection, job)
        else:
            return True, place
        if job.run in {place.run, window.window.run}:  # stored by a try whose answer was lost
            job.sequence = window.sequence - 1 if place.live is None else place.live.sequence
            return True, Place()
        if _may_replace(job, place):
            continue
        if place.live is not None:
            return _adopt(job, place.run, place.live.sequence), place
        if window != NO_WINDOW:
            return _adopt(job, window.window.run, window.sequence - 1, window.window.until), place


async def _store(connection: Connection, job: JobCall[Any], message: BrokerMessage, window: FoundWindow) -> int:
    """Store a job and, in the same step, the window of its key if it has one; return the job's sequence."""
    seconds = job.delivery.unique_for
    if not seconds:
        return await connection.publish(*message)
    opened = KeyWindow(job.run, job.enqueued_at + seconds)
    return (
        await publish_batch(connection, [message, window_message(connection, job.queue, job.job_id, opened, seconds, window)]) - 1
    )


async def _look(connection: Connection, job: JobCall[Any]) -> tuple[Place, FoundWindow]:
    place = find_place(connection, job.queue, job.job_id)
    if not job.delivery.unique_for:
        return await place, NO_WINDOW
    return await asyncio.gather(place, read_window(connection, job.queue, job.job_id))


async def _has_nothing_to_hand_over(look: "asyncio.Future[Stored | None]") -> bool:
    """Whether the id had no record of an end when the job was sent, nor one that could become it: none to be handed over."""
    try:
        stored = await look
    except BrokerError:
        return False
    return stored is None or stored.record.state in {JobState.QUEUED, JobState.HELD}


async def _debounce(
    connection: Connection, job: JobCall[Any], message: BrokerMessage, look: "asyncio.Future[Stored | None]"
) -> None:
    """Publish on the held subject: the server replaces the waiting message, and its delay restarts.

    It may be repeated, as it is always the same run; so no answer is needed of what was there before.
    """
    subject, body, headers = message
    if subject != connection.names.held(job.queue, job.job_id):  # the clock has jumped, or the loop has stood still for long
        job.due = 0.0
    unconditional = {name: value for name, value in headers.items() if name not in {EXPECTED_SEQUENCE, EXPECTED_SUBJECT}}
    job.sequence = await connection.publish(subject, body, unconditional)
    if not await _has_nothing_to_hand_over(look):
        await hand_over_record(connection, _waiting_record(job), retire=False)


def placed(connection: Connection, job: JobCall[Any], message: BrokerMessage, place: Place) -> BrokerMessage:
    """Return the message with the headers that store it only where the id is as it was found."""
    subject, body, headers = message
    return (
        subject,
        body,
        {
            **headers,
            EXPECTED_SUBJECT: connection.names.any_state(job.queue, job.job_id),
            **place.headers(subject, replace=place.live is not None),
        },
    )


def _may_replace(job: JobCall[Any], place: Place) -> bool:
    return place.live is not None and place.is_waiting and job.delivery.on_clash is Clash.REPLACE and place.run != job.run


def _adopt(job: JobCall[Any], run: str, sequence: int, until: float = 0.0) -> bool:
    """Let the handle stand for the job that has the key; return False, as it is not new."""
    if job.delivery.on_clash is not Clash.RETURN:
        raise DuplicateJobError(job.job_id, datetime.fromtimestamp(until, UTC) if until else None)
    job.run, job.sequence = run, sequence
    return False


async def _take_over(connection: Connection, job: JobCall[Any], place: Place) -> None:
    """After the job was stored: see to it that what it replaced on a ready subject does not run, and that the record is its."""
    gone = place.live or place.spent
    is_ready = place.live is not None and state_of_subject(place.live.subject)[0] != "held"
    is_over = await hand_over_record(connection, _waiting_record(job), retire=is_ready)
    if gone is None or (is_ready and not is_over):
        return
    if is_ready:
        await remove(connection, gone)
        return
    await free_place(connection, gone)
    await remove_arguments(connection, gone)


def _waiting_record(job: JobCall[Any]) -> JobRecord:
    return transitions.unclaimed(
        job.job_id,
        job.queue,
        job.function_name,
        is_held=bool(job.due),
        run=job.run,
        enqueued_at=job.enqueued_at,
        sequence=job.sequence,
        workflow=job.workflow,
        options=job.options,
    )


async def place_keys(connection: Connection, jobs: Sequence[JobCall[Any]], messages: list[BrokerMessage]) -> bool:
    """After a batch was refused: find the places of its unique jobs.

    Returns:
        Whether the batch is worth another try, with the messages as they are now.

    Raises:
        DuplicateJobError: One of them is live.
    """
    unique = [number for number, job in enumerate(jobs) if job.delivery.unique]
    places = await asyncio.gather(*(find_place(connection, jobs[number].queue, jobs[number].job_id) for number in unique))
    changed = False
    for number, place in zip(unique, places, strict=True):
        if place.live is not None:
            raise DuplicateJobError(jobs[number].job_id)
        message = placed(connection, jobs[number], messages[number], place)
        changed = changed or message != messages[number]
        messages[number] = message
    return changed


async def settle_keys(connection: Connection, jobs: Sequence[JobCall[Any]]) -> None:
    """After a batch was stored: note where its unique jobs lie, and take their records over."""
    unique = [job for job in jobs if job.delivery.unique]
    for job, place in zip(
        unique, await asyncio.gather(*(find_place(connection, job.queue, job.job_id) for job in unique)), strict=True
    ):
        if place.live is not None and place.run == job.run:
            job.sequence = place.live.sequence
            await hand_over_record(connection, _waiting_record(job), retire=False)


def check_keys(jobs: Sequence[JobCall[Any]]) -> None:
    """Refuse unique jobs among more than are stored all or none, and an id that is twice among those.

    Raises:
        InvalidOptionError: There are too many jobs for unique ones among them.
        DuplicateJobError: An id is there twice.
    """
    if len(jobs) > BATCH_LIMIT:
        if any(job.delivery.unique for job in jobs):
            raise InvalidOptionError("unique", f"enqueue at most {BATCH_LIMIT:,} jobs at once if any of them is unique")
        return
    keys = Counter((job.queue, job.job_id) for job in jobs)
    if len(keys) < len(jobs):
        raise DuplicateJobError(next(job_id for (_, job_id), count in keys.items() if count > 1))
