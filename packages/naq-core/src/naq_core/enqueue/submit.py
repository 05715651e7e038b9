"""Putting jobs on their subjects: one, a few at once, or many in a pipeline."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from naq_core.call import JobCall
from naq_core.delivery_options import NO_DELIVERY_OPTIONS
from naq_core.enqueue.dependent import find_parents, submit_wired
from naq_core.enqueue.keyed import store_keyed, store_keyed_many
from naq_core.enqueue.message import count_enqueued, job_message, tell_enqueued
from naq_core.enqueue.unique import check_keys, check_many, check_ties, place_keys, settle_keys, submit_unique
from naq_core.enqueue.within import has_middleware, within
from naq_core.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    DuplicateJobError,
    EnqueueUnknownError,
    NaqError,
    WrongSequenceError,
)
from naq_core.settings import Settings
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_queue
from naq_core.transport.batch import BATCH_LIMIT, publish_batch
from naq_core.transport.errors import DisconnectedError, NotReadyError
from naq_core.transport.headers import FIRST
from naq_core.transport.repeat import outlast

T = TypeVar("T")

TURN = 250
"""Messages of a pipeline that are written together."""
AT_ONCE = 1000
"""Messages of a pipeline that are sent again side by side."""


async def _prepare(connection: Connection, jobs: Sequence[JobCall[Any]]) -> None:
    """Bind jobs to their connection, and put their calls into the object store where they are large.

    Raises:
        EncodeError: One cannot be serialized. PayloadTooLargeError: One is too large, and the object store is not used.
    """
    large, most = connection.large_limit, connection.message_limit
    for job in jobs:
        job.bind(connection)
        size = len(job.encode().body)
        if size > large:
            now = connection.clock.now()
            await job.store_arguments(connection, held_for=max(0.0, job.delivery.due(now) - now))
        elif size > most:
            connection.check_size(f"the call of {job.function_name}", size)


class Connected(Protocol):
    """What is needed of a queue."""

    settings: Settings

    async def connection(self) -> Connection:
        """Return the open connection of the running event loop."""
        ...


async def in_budget(queue: Connected, jobs: Sequence[JobCall[Any]], send: Callable[[Connection], Awaitable[T]]) -> T:
    """Enqueue jobs within the smallest `publish_budget` among their options, where one has any.

    Args:
        send: Enqueues them; its repeats are bounded by the setting `publish_budget`.

    Raises:
        BrokerUnavailableError: There was no connection within the time; nothing was sent.
        EnqueueUnknownError: The time is used up; the jobs may be stored.
    """
    budget = min((job.budget for job in jobs if job.budget is not None), default=None)
    if budget is None:
        return await send(await queue.connection())
    deadline = asyncio.get_running_loop().time() + budget
    reason = f"the publish_budget of {budget:g} s is used up"
    try:
        async with asyncio.timeout_at(deadline):
            connection = await queue.connection()
    except TimeoutError as error:
        raise BrokerUnavailableError(queue.settings.redacted_url(), reason) from error
    await connection.wait_connected(deadline)
    scope = asyncio.timeout_at(deadline)
    try:
        async with scope:
            return await send(connection)
    except TimeoutError as error:
        if isinstance(error, NaqError) or not scope.expired():
            raise
        raise EnqueueUnknownError([job.job_id for job in jobs], reason) from error


async def submit(queue: Connected, job: JobCall[Any]) -> bool:
    """Enqueue one job.

    Returns:
        Whether it is new; False where a live job of this id was there.

    Raises:
        DuplicateJobError: A live job with its `unique` key is there, and it is neither to be returned nor to be replaced.
        AmbiguousJobError: It depends on an id that jobs of several queues have.
        EnqueueUnknownError: The server could not be asked whether it was stored. BrokerError: It was not stored.
        EnqueueSkippedError: Middleware has left it out; it was not stored.
    """
    if job.budget is None:
        return await _submitting(await queue.connection(), job)
    return await in_budget(queue, (job,), lambda connection: _submitting(connection, job))


class _Open:
    """What an open connection has in common with a queue."""

    def __init__(self, connection: Connection) -> None:
        self.settings = connection.settings
        self._connection = connection

    async def connection(self) -> Connection:
        return self._connection


async def submit_on(connection: Connection, job: JobCall[Any]) -> bool:
    """Enqueue one job over an open connection; as `submit`."""
    return await submit(_Open(connection), job)


def _submitting(connection: Connection, job: JobCall[Any]) -> Awaitable[bool]:
    if has_middleware(connection):
        return within(connection, (job,), lambda: _submit(connection, job))
    return _submit(connection, job)


async def _submit(connection: Connection, job: JobCall[Any]) -> bool:
    if job.wiring.after:
        await find_parents(connection, [job])
    await _prepare(connection, [job])
    try:
        is_new = await _place(connection, job)
    except DuplicateJobError:
        await job.discard_arguments()
        raise
    job.is_new = is_new
    if is_new:
        count_enqueued(connection, job.queue, job.function_name)
    else:
        await job.discard_arguments()
    await tell_enqueued({job.queue})
    return is_new


async def _place(connection: Connection, job: JobCall[Any]) -> bool:
    """Put a job on its subject, in the way that its dependencies and delivery options ask for; return whether it is new."""
    if job.delivery.unique and not job.wiring.after:
        return await submit_unique(connection, job)
    if not job.wiring.after:
        return await _store(connection, job)
    check_ties(job)
    try:
        await submit_wired(connection, [job], [job_message(connection, job, again=True)])
    except DuplicateJobError:
        if job.delivery.unique:
            raise
        return False
    return True


async def _store(connection: Connection, job: JobCall[Any]) -> bool:
    await ensure_queue(connection, job.queue, job.options.priority)
    if job.options.key:
        return await store_keyed(connection, job)
    message = job_message(connection, job)
    is_repeated = False
    try:
        if connection.is_connected:
            start, begun = connection.client.server_start, asyncio.get_running_loop().time()
            try:
                await connection.publish_once(*message)
            except NotReadyError:
                pass
            except (BrokerTimeoutError, DisconnectedError):
                is_repeated = True
                if FIRST in message[2]:
                    await outlast(connection, start, begun)
            else:
                return True
        await connection.publish(*job_message(connection, job, again=True), is_repeated=is_repeated)
    except WrongSequenceError:
        return False
    except BrokerTimeoutError as error:
        raise EnqueueUnknownError([job.job_id], str(error)) from error
    return True


async def submit_many(connection: Connection, jobs: Sequence[JobCall[Any]]) -> bool:
    """Enqueue jobs: up to 1,000 as one atomic batch, more in a pipeline.

    Returns:
        Whether it was atomic.

    Raises:
        DuplicateJobError: A job of the atomic batch exists already; nothing was enqueued.
        EnqueueUnknownError: Names the jobs of which it is unknown whether they were stored.
        EnqueueSkippedError: Middleware has left it out; nothing was enqueued.
    """
    return await within(connection, jobs, lambda: send_many(connection, jobs))


async def send_many(connection: Connection, jobs: Sequence[JobCall[Any]]) -> bool:
    """As `submit_many`, inside of the middleware."""
    for job in jobs:
        if job.delivery is not NO_DELIVERY_OPTIONS:
            check_many(job)
    await find_parents(connection, jobs)
    await _prepare(connection, jobs)
    try:
        if any(job.wiring.after for job in jobs):
            wired = [job_message(connection, job, again=bool(job.wiring.after)) for job in jobs]
            atomic = await submit_wired(connection, jobs, wired)
        else:
            atomic = await _store_many(connection, jobs)
    except DuplicateJobError:
        for job in jobs:
            await job.discard_arguments()
        raise
    for (queue, function), count in Counter((job.queue, job.function_name) for job in jobs).items():
        count_enqueued(connection, queue, function, count)
    await tell_enqueued({job.queue for job in jobs})
    return atomic


async def _store_many(connection: Connection, jobs: Sequence[JobCall[Any]]) -> bool:
    check_keys(jobs)
    for queue, level in {(job.queue, job.options.priority) for job in jobs}:
        await ensure_queue(connection, queue, level)
    if any(job.options.key for job in jobs):
        return await store_keyed_many(connection, jobs)
    if len(jobs) > BATCH_LIMIT:
        await _pipeline(connection, jobs)
        return False
    try:
        await _store_batch(connection, jobs)
    except (BrokerTimeoutError, DisconnectedError) as error:
        raise EnqueueUnknownError([job.job_id for job in jobs], str(error)) from error
    return True


async def _store_batch(connection: Connection, jobs: Sequence[JobCall[Any]]) -> None:
    messages = [job_message(connection, job) for job in jobs]
    has_keys = any(job.delivery.unique for job in jobs)
    while True:
        try:
            await publish_batch(connection, messages)
            break
        except WrongSequenceError as error:
            if not has_keys or not await place_keys(connection, jobs, messages):
                raise DuplicateJobError(jobs[0].job_id if len(jobs) == 1 else "of the batch") from error
    if has_keys:
        await settle_keys(connection, jobs)


async def _pipeline(connection: Connection, jobs: Sequence[JobCall[Any]]) -> None:
    """Send everything without waiting for each answer; what is not acknowledged is sent again.

    Arguments are encoded by now; the messages are made while the server stores those before.

    Raises:
        EnqueueUnknownError: Names the jobs of which it is unknown whether they were stored.
    """
    await connection.wait_connected(connection.budget())
    publisher = connection.publisher
    futures: list[asyncio.Future[int]] = []
    try:
        for number, job in enumerate(jobs):
            message = job_message(connection, job)
            futures.append(publisher.post(*message) if publisher.has_room else await publisher.send(*message))
            if number % TURN == 0:
                await asyncio.sleep(0)  # let them go out
    except (NotReadyError, DisconnectedError):
        pass  # disconnected on the way: the rest is sent below
    outcomes = await _outcomes(futures)
    if connection.settings.claim_after and any(isinstance(each, BrokerTimeoutError | DisconnectedError) for each in outcomes):
        await outlast(connection, connection.client.server_start, asyncio.get_running_loop().time())
    outcomes += [DisconnectedError("it may not have been sent")] * (len(jobs) - len(futures))
    await _store_rest(connection, list(zip(jobs, outcomes, strict=True)))


async def _outcomes(futures: Sequence[asyncio.Future[int]]) -> list[Any]:
    """Wait for all and return their results and errors; `asyncio.gather` takes as long for that as an enqueue for the rest."""
    outcomes: list[Any] = []
    try:
        for future in futures:
            try:
                outcomes.append(await future)
            except NaqError as error:
                outcomes.append(error)
    finally:
        for future in futures[len(outcomes) :]:  # cancelled: these are not read any more
            if not future.cancel() and not future.cancelled():
                future.exception()
    return outcomes


async def _store_rest(connection: Connection, outcomes: Sequence[tuple[JobCall[Any], Any]]) -> None:
    """Send again what was not acknowledged, side by side and all within one budget: a cut-off server answers none of it.

    Raises:
        EnqueueUnknownError: Names the jobs of which it is unknown whether they were stored.
    """
    rest: list[tuple[JobCall[Any], bool]] = []
    for job, outcome in outcomes:
        if isinstance(outcome, int | WrongSequenceError):
            continue  # stored, or a live job of this id is there
        if not isinstance(outcome, NotReadyError | BrokerTimeoutError | DisconnectedError):
            raise outcome
        rest.append((job, not isinstance(outcome, NotReadyError)))
    deadline = connection.budget()
    unknown: list[str] = []
    reason = "the budget was used up before the next try"
    for start in range(0, len(rest), AT_ONCE):
        part = rest[start : start + AT_ONCE]
        if connection.is_past(deadline):
            unknown += (job.job_id for job, _ in part)
            continue
        tries = (
            connection.publish(*job_message(connection, job, again=True), deadline=deadline, is_repeated=is_repeated)
            for job, is_repeated in part
        )
        for (job, _), outcome in zip(part, await asyncio.gather(*tries, return_exceptions=True), strict=True):
            if isinstance(outcome, BrokerTimeoutError | BrokerUnavailableError):
                unknown.append(job.job_id)
                reason = str(outcome)
            elif isinstance(outcome, BaseException) and not isinstance(outcome, WrongSequenceError):
                raise outcome
    if unknown:
        raise EnqueueUnknownError(unknown, reason)
