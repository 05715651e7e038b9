"""Operations on whole queues: pause, resume, limit, purge, delete."""

from datetime import datetime

import msgspec

from naq_core.errors import InvalidOptionError, JetStreamError, QueueInUseError, shown
from naq_core.inspect import get_queue, list_workers
from naq_core.manage._removed import end_removed, waiting_parents
from naq_core.names import check_queue, matches
from naq_core.option_kinds import LATEST
from naq_core.queue_policy import MOST_LIMIT, QueuePolicy
from naq_core.storage import objects
from naq_core.storage.bells import ring_all
from naq_core.storage.connection import Connection
from naq_core.storage.queues import QueueSettings, change_queue_settings, delete_queue_settings, read_queue_settings
from naq_core.storage.slots import delete_slots
from naq_core.storage.subjects import FAR_FUTURE, LEVELS, NORMAL
from naq_core.storage.topology import create_consumer, ensure_queue, ensure_streams, forget_queue, limit_consumer
from naq_core.storage.windows import remove_windows
from naq_core.transport.direct import count_many
from naq_core.transport.keeper import CONSUMER_NOT_FOUND
from naq_core.values import aware, whole


async def pause_queue(connection: Connection, queue: str, until: datetime | None = None) -> None:
    """Stop the delivery of a queue's jobs to all workers, those that start later included.

    It is a fact of the server: it survives restarts, and no worker has to be reached. Jobs that run go on. Whatever becomes
    ready meanwhile, be it enqueued, delayed or due for its retry, waits.

    Args:
        until: An aware time at which the server resumes the queue by itself; by default it stays paused until `resume_queue`.

    Raises:
        InvalidOptionError: `until` is naive or has passed.
        BrokerError: Not stored, or not at every consumer: pause again.
    """
    queue = check_queue(queue)
    paused_until = FAR_FUTURE if until is None else _instant(until, connection.clock.utc())
    await ensure_streams(connection)
    await change_queue_settings(connection, queue, lambda old: msgspec.structs.replace(old, paused_until=paused_until))
    await _pause_consumers(connection, queue, paused_until)


async def resume_queue(connection: Connection, queue: str) -> None:
    """Deliver a paused queue's jobs again; nothing happens to one that is not paused."""
    queue = check_queue(queue)
    await ensure_streams(connection)

    def resumed(old: QueueSettings) -> QueueSettings:
        return msgspec.structs.replace(old, paused_until="")

    await change_queue_settings(connection, queue, resumed)
    names = connection.names
    for consumer, _ in names.consumers(queue):
        try:
            await connection.api(f"CONSUMER.PAUSE.{names.jobs_stream}.{consumer}", {})
        except JetStreamError as error:
            if error.err_code != CONSUMER_NOT_FOUND:
                raise


async def _pause_consumers(connection: Connection, queue: str, paused_until: str) -> None:
    await ensure_queue(connection, queue)
    names = connection.names
    for level in LEVELS:
        operation = f"CONSUMER.PAUSE.{names.jobs_stream}.{names.consumer(queue, level)}"
        try:
            await connection.api(operation, {"pause_until": paused_until})
        except JetStreamError as error:
            if error.err_code != CONSUMER_NOT_FOUND:
                raise
            # It does not exist yet, or was deleted. Its creator reads the settings, perhaps before this write: pause it anyway.
            await create_consumer(connection, queue, level)
            await connection.api(operation, {"pause_until": paused_until})


async def set_queue_limit(connection: Connection, queue: str, limit: int | None) -> None:
    """Limit how many jobs of a queue run at once, over all workers and priorities; or lift the limit.

    The server delivers no more than that, and each job takes one of as many slots before it runs, so the limit holds over
    restarts of the server and deaths of workers too: the slots of a dead worker are free again when its presence has expired
    (`NAQ_WORKER_TTL`). When a limit is set or lowered, what runs goes on.

    Args:
        limit: From 1 to 10,000; None, the default of every queue, means as many as the workers have slots for.

    Raises:
        InvalidOptionError: The limit is out of range.
        BrokerError: Not stored, or not at every consumer: set it again.
    """
    queue = check_queue(queue)
    if limit is not None:
        limit = whole(limit, "limit", 1, MOST_LIMIT)
    await ensure_streams(connection)
    await change_queue_settings(connection, queue, lambda old: msgspec.structs.replace(old, limit=limit))
    await ensure_queue(connection, queue)
    await _limit_consumers(connection, queue, limit)


async def _limit_consumers(connection: Connection, queue: str, limit: int | None) -> None:
    for level in LEVELS:
        if not await limit_consumer(connection, queue, level, limit):
            # As above: its creator reads the settings, perhaps before this write.
            await create_consumer(connection, queue, level)
            await limit_consumer(connection, queue, level, limit)


async def set_queue_policy(connection: Connection, queue: str, policy: QueuePolicy) -> None:
    """Say how many jobs of a queue may run at once and start in a time, in all and of each key, over all workers.

    It holds at once. What runs already goes on where a limit is lowered; where it is raised, more start (`docs/adr/0054-keys.md`,
    `docs/adr/0057-rates.md`).

    Raises:
        InvalidOptionError: It is no policy.
        BrokerError: It is unknown whether it was stored, or not all keys are looked at: set it again.
    """
    queue = check_queue(queue)
    if not isinstance(policy, QueuePolicy):
        raise InvalidOptionError("policy", f"{shown(policy)} is not a policy: use QueuePolicy(key_limit=…, rate=…)")
    await ensure_streams(connection)
    await change_queue_settings(connection, queue, lambda old: old.with_policy(policy))
    await ensure_queue(connection, queue)
    await _limit_consumers(connection, queue, policy.limit)
    await ring_all(connection, queue)


async def get_queue_policy(connection: Connection, queue: str) -> QueuePolicy:
    """Return a queue's policy; of one for which nothing was ever set, the default."""
    return (await read_queue_settings(connection, check_queue(queue))).policy


async def is_queue_paused(connection: Connection, queue: str) -> bool:
    """Return whether the server holds a queue's jobs back right now."""
    queue = check_queue(queue)
    names = connection.names
    consumer = names.consumer(queue, NORMAL)
    try:
        info = await connection.api(f"CONSUMER.INFO.{names.jobs_stream}.{consumer}")
    except JetStreamError as error:
        if error.code == 404:
            return False  # nothing was ever enqueued to it or set for it
        raise
    return bool(info.get("paused", False))


async def purge_queue(connection: Connection, queue: str) -> int:
    """Delete every queued or held job of a queue.

    A job that runs goes on and its result is kept, but if its worker dies it is not run again. Dead jobs stay. A job that others
    wait for is recorded as cancelled, and they are cancelled or released as after any cancellation. A caller that waits for the
    result of any other purged job gets `JobNotFoundError` within a minute.

    It works in a full store: what it deletes makes the room for what it writes.

    Returns:
        How many were deleted.

    Raises:
        QueueFullError: The jobs are deleted, but there is no room to end all that wait for them: purge again when there is.
        BrokerError: Not all may have been done; purge again.
    """
    queue = check_queue(queue)
    await ensure_streams(connection)
    names = connection.names
    deleted = 0
    parents = await waiting_parents(connection, queue, "its queue was purged")
    large = await objects.arguments_of_waiting(connection, queue)
    for state in ("high", "normal", "low", "held"):
        answer = await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": f"{names.jobs}.{state}.{queue}.*"})
        deleted += int(answer["purged"])
    await remove_windows(connection, queue)
    await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": names.waits_for_key(queue, "*")})
    await ring_all(connection, queue)  # jobs that had a place and did not run are gone
    for each in large:
        await objects.remove(connection, each)
    await end_removed(connection, parents, connection.settings.failure_ttl.total_seconds())
    return deleted


async def delete_queue(connection: Connection, queue: str) -> None:
    """Delete an empty queue that no worker was told to take jobs from: its consumers, pause, limit and slots.

    It is for a queue made by a typing error, or for one that is no longer needed. Workers that serve it by a pattern leave it.
    Records of its jobs that have ended stay until their time to live is over. The queue comes back when somebody enqueues to it
    or a worker is started with its name.

    Raises:
        QueueNotFoundError: There is no such queue.
        QueueInUseError: It has jobs (queued, running, held, or dead or cancelled and kept for a retry) or workers; says how
            many. Nothing was deleted.
        BrokerError: Not all may have been done; delete it again.
    """
    view = await get_queue(connection, queue)
    queue, names = view.queue, connection.names
    jobs = await _jobs(connection, queue, view.running)
    workers = await _count_workers(connection, queue) if view.workers else 0
    if any(jobs.values()) or workers:
        raise QueueInUseError(queue, jobs, workers)
    await delete_queue_settings(connection, queue)  # first: from now on no worker recreates the consumers merely to keep them
    for consumer, _ in names.consumers(queue):
        try:
            await connection.api(f"CONSUMER.DELETE.{names.jobs_stream}.{consumer}", restores=False)
        except JetStreamError as error:
            if error.err_code != CONSUMER_NOT_FOUND:
                raise
    forget_queue(connection, queue)
    if late := (await count_many(connection, names.jobs_stream, [names.any_state(queue, "*")]))[0]:
        await ensure_queue(connection, queue)  # it must be seen that they wait
        raise QueueInUseError(queue, {"new": late})
    await delete_slots(connection, queue)
    for filter_ in (names.timed_bell(queue, "*"), names.places(queue, "*")):
        await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": filter_})
    await remove_windows(connection, queue)


async def _count_workers(connection: Connection, queue: str) -> int:
    """Count the workers that serve a queue by its name: those with a pattern that it matches leave a deleted queue."""
    workers = [each for each in await list_workers(connection) if queue in each.get("queues", ())]
    return sum(not any(matches(pattern, queue) for pattern in each.get("patterns", ())) for each in workers)


async def _jobs(connection: Connection, queue: str, running: int) -> dict[str, int]:
    """Count a queue's jobs by their subjects: what consumers say of their messages lags behind for a moment."""
    names = connection.names
    places = [names.held(queue, "*"), names.dead(queue, "*"), names.archive(queue, "*", "cancelled")]
    ready = [names.ready_filter(queue, level) for level in LEVELS]
    held, dead, cancelled, *waiting = await count_many(connection, names.jobs_stream, [*places, *ready])
    taken = min(running, sum(waiting))  # their messages stay until they end
    return {"queued": sum(waiting) - taken, "running": taken, "held": held, "dead": dead, "cancelled": cancelled}


def _instant(until: datetime, now: datetime) -> str:
    moment = aware(until, "until")
    if not now < moment < LATEST:
        raise InvalidOptionError("until", f"{moment.isoformat()} is in the past, or after {LATEST.year - 1}")
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
