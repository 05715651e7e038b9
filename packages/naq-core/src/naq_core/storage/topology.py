"""The streams, buckets and consumers that NAQ needs, created where they are missing.

An existing stream is left as it is, with two exceptions: what its events need, and how many consumers it may have.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from naq_core.errors import BrokerError, ConfigurationError, ConsumerLimitError, JetStreamError, PermissionDeniedError
from naq_core.storage.connection import Connection
from naq_core.storage.queues import read_queue_settings, revive_queue, was_deleted
from naq_core.storage.stream_configs import MAX_CONSUMERS, bucket_config, objects_config, stream_configs, tally_config
from naq_core.storage.subjects import LEVELS, NORMAL
from naq_core.transport.keeper import CONSUMER_NOT_FOUND, NAME_IN_USE, STREAM_NOT_FOUND

log = logging.getLogger(__name__)

MAX_ACK_PENDING = 100_000
MAX_WAITING = 8192
AT_ONCE = 64
"""Queues whose consumers are created at the same time."""
CONSUMER_EXISTS = frozenset({10105, 10148, 10013})
"""With the same settings, with others, or the name is in use."""
MUST = (
    "subjects",
    "retention",
    "allow_msg_schedules",
    "allow_msg_ttl",
    "allow_atomic",
    "max_msgs_per_subject",
    "allow_msg_counter",
)
"""What a stream must have for NAQ's promises to hold."""


async def ensure_schedules(connection: Connection) -> None:
    """Create the buckets of schedules and leases where they are missing: only those who use schedules need them.

    Raises:
        ConfigurationError, BrokerError: As `ensure_streams`.
    """
    names, replicas = connection.names, connection.settings.replicas
    for stream, prefix in ((names.schedules_stream, names.schedules), (names.leases_stream, names.leases)):
        await ensure_stream_config(connection, bucket_config(stream, prefix, replicas))


async def ensure_streams(connection: Connection) -> None:
    """Create the streams that are missing and check the others.

    Raises:
        ConfigurationError: A stream of that name exists with settings that break NAQ's promises.
        BrokerError: The server refused.
    """
    if "streams" in connection.ready:
        return
    are_new = [await ensure_stream_config(connection, wanted) for wanted in stream_configs(connection)]
    if any(are_new):
        await ensure_tally(connection)
    connection.ready.add("streams")


async def ensure_tally(connection: Connection) -> None:
    """Create the stream of counters where it is missing and this user may; without them everything else works."""
    tried = f"{connection.names.tally_stream} was tried"
    if tried in connection.ready:
        return
    connection.ready.add(tried)
    try:
        await ensure_stream_config(connection, tally_config(connection))
    except BrokerError as error:
        log.warning("counters for Prometheus are not available: %s", error)


async def ensure_objects(connection: Connection) -> None:
    """Create the bucket of large payloads; done by the process that stores the first one."""
    await ensure_stream_config(connection, objects_config(connection))


async def ensure_stream_config(connection: Connection, wanted: dict[str, Any]) -> bool:
    """Create one stream where it is missing, or check that the one there fits; return whether it is new.

    From then on the connection creates it again when somebody deletes it.

    Raises:
        ConfigurationError: A stream of that name exists with settings that break NAQ's promises.
        BrokerError: The server refused.
    """
    name = wanted["name"]
    if name in connection.ready:
        return False
    async with connection.topology_lock:
        if name in connection.ready:
            return False
        is_new = await _find_or_create(connection, wanted)
        connection.keeper.keep_stream(wanted)
        connection.ready.add(name)
        return is_new


async def _find_or_create(connection: Connection, wanted: dict[str, Any]) -> bool:
    name = wanted["name"]
    for _ in range(2):
        try:
            answer = await connection.api(f"STREAM.INFO.{name}", restores=False)
        except JetStreamError as error:
            if error.err_code != STREAM_NOT_FOUND:
                raise
        else:
            _check(name, wanted, answer["config"])
            await _update(connection, wanted, answer["config"])
            return False
        try:
            await _create_stream(connection, wanted)
        except JetStreamError as error:
            if error.err_code not in NAME_IN_USE:
                raise
            continue  # another process was faster: look at what it made
        log.info("created stream %s", name)
        return True
    raise BrokerError(f"stream {name} can neither be created nor read")


async def _create_stream(connection: Connection, wanted: dict[str, Any]) -> None:
    """Create a stream; where the account allows fewer consumers than are wanted, with as many as it allows."""
    config = {key: value for key, value in wanted.items() if value is not None}
    try:
        await connection.api(f"STREAM.CREATE.{wanted['name']}", config)
    except ConsumerLimitError:
        if "max_consumers" not in wanted:
            raise
        wanted["max_consumers"] = config["max_consumers"] = await most_consumers(connection)
        await connection.api(f"STREAM.CREATE.{wanted['name']}", config)


async def most_consumers(connection: Connection) -> int:
    """Return how many consumers a stream may be given: as many as the account allows, if it says."""
    limit = int((await connection.api("INFO")).get("limits", {}).get("max_consumers", 0))
    return limit if limit > 0 else MAX_CONSUMERS


def _check(name: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    for key in MUST:
        if key in wanted and found.get(key) != wanted[key]:
            raise ConfigurationError(
                f"stream {name}",
                f"exists with {key}={found.get(key)!r}, NAQ needs {wanted[key]!r}: use another NAQ_NAMESPACE, or edit the stream",
            )


async def _update(connection: Connection, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Let a stream that another version or setting made republish what events need; nothing else of it is touched."""
    if "republish" not in wanted or found.get("republish") == wanted["republish"]:
        return
    config = {**found, "republish": wanted["republish"]}
    await connection.api(f"STREAM.UPDATE.{wanted['name']}", {key: value for key, value in config.items() if value is not None})
    log.info("stream %s: republish is now %s", wanted["name"], wanted["republish"])


async def ensure_queue(connection: Connection, queue: str, level: str = NORMAL) -> None:
    """Create the streams and the durable consumer of a queue's level where they are missing.

    Producers do it too: an autoscaler must find the consumer before the first worker starts. From then on the connection
    creates it again when somebody deletes it.

    Raises:
        ConsumerLimitError: The server or the account allows no more consumers.
        ConfigurationError, BrokerError: As `ensure_streams`.
    """
    known = queue if level == NORMAL else f"{queue}.{level}"
    if known in connection.ready:
        return
    await ensure_streams(connection)
    if not await has_consumer(connection, queue, level):
        with suppress(PermissionDeniedError):  # a mark that stays hurts less than a queue that cannot be used
            await revive_queue(connection, queue)
        await create_consumer(connection, queue, level)
    names = connection.names
    create = partial(_create_again, connection, queue, level)
    connection.keeper.keep_consumer(names.jobs_stream, names.consumer(queue, level), create)
    connection.ready.add(known)


async def _create_again(connection: Connection, queue: str, level: str) -> bool:
    """Create a consumer that is missing, unless somebody has deleted its queue."""
    if await was_deleted(connection, queue):
        forget_queue(connection, queue)
        return False
    return await create_consumer(connection, queue, level)


def forget_queue(connection: Connection, queue: str) -> None:
    """Keep the consumers of a queue no longer; the next job that this connection enqueues to it creates them again."""
    for level in LEVELS:
        connection.keeper.forget_consumer(connection.names.consumer(queue, level))
        connection.ready.discard(queue if level == NORMAL else f"{queue}.{level}")


async def ensure_queues(connection: Connection, queues: Sequence[str]) -> None:
    """Do as `ensure_queue` for the normal level of many queues, some at a time."""
    await ensure_streams(connection)
    for start in range(0, len(queues), AT_ONCE):
        await asyncio.gather(*(ensure_queue(connection, queue) for queue in queues[start : start + AT_ONCE]))


async def has_consumer(connection: Connection, queue: str, level: str) -> bool:
    """Return whether the consumer of a queue's level exists."""
    names = connection.names
    try:
        await connection.api(f"CONSUMER.INFO.{names.jobs_stream}.{names.consumer(queue, level)}", restores=False)
    except JetStreamError as error:
        if error.err_code != CONSUMER_NOT_FOUND:
            raise
        return False
    return True


async def create_consumer(connection: Connection, queue: str, level: str = NORMAL) -> bool:
    """Create the consumer of a queue's level; two processes may do so at once, with the same outcome.

    Returns:
        Whether it is new; False where another process was faster.

    Raises:
        ConsumerLimitError: The server or the account allows no more consumers.
        BrokerError: The server refused.
    """
    names, settings = connection.names, connection.settings
    consumer, delivers = names.consumer(queue, level), names.ready_filter(queue, level)
    wanted = await read_queue_settings(connection, queue)
    config: dict[str, Any] = {
        "name": consumer,
        "durable_name": consumer,
        "filter_subject": delivers,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(settings.ack_wait.total_seconds() * 1e9),
        "max_deliver": -1,
        "max_ack_pending": MAX_ACK_PENDING if wanted.limit is None else wanted.limit,
        "max_waiting": MAX_WAITING,
    }
    if wanted.paused_until:
        config["pause_until"] = wanted.paused_until
    operation = f"CONSUMER.CREATE.{names.jobs_stream}.{consumer}.{delivers}"
    request = {"stream_name": names.jobs_stream, "config": config, "action": "create"}
    try:
        try:
            await connection.api(operation, request, restores=False)
        except ConsumerLimitError:
            if not await _raise_consumer_limit(connection):
                raise
            await connection.api(operation, request, restores=False)
    except JetStreamError as error:
        if error.err_code in CONSUMER_EXISTS:
            return False
        raise
    log.info("created consumer %s", consumer)
    return True


async def _raise_consumer_limit(connection: Connection) -> bool:
    """Let a jobs stream have more consumers that was created when NAQ set no limit; return whether that was done.

    A limit that somebody has set on purpose stays.
    """
    stream = connection.names.jobs_stream
    found = (await connection.api(f"STREAM.INFO.{stream}"))["config"]
    wanted = await most_consumers(connection)
    if found.get("max_consumers", -1) > 0:
        return False
    await connection.api(f"STREAM.UPDATE.{stream}", {**found, "max_consumers": wanted})
    log.info("stream %s: max_consumers is now %d", stream, wanted)
    return True


async def limit_consumer(connection: Connection, queue: str, level: str, limit: int | None) -> bool:
    """Let no more than `limit` messages of a queue's level be in flight; return whether its consumer exists."""
    names = connection.names
    consumer = names.consumer(queue, level)
    try:
        info = await connection.api(f"CONSUMER.INFO.{names.jobs_stream}.{consumer}")
    except JetStreamError as error:
        if error.err_code != CONSUMER_NOT_FOUND:
            raise
        return False
    wanted = MAX_ACK_PENDING if limit is None else limit
    if info["config"].get("max_ack_pending") != wanted:
        config = {**info["config"], "max_ack_pending": wanted}
        await connection.api(
            f"CONSUMER.CREATE.{names.jobs_stream}.{consumer}.{names.ready_filter(queue, level)}",
            {"stream_name": names.jobs_stream, "config": config, "action": "update"},
        )
    return True


async def delete_namespace(connection: Connection) -> None:
    """Delete every stream and bucket of the namespace, with all that is in them.

    Twice: the server may still be creating one for a program that was interrupted, and does not find it the first time.
    """
    connection.keeper.forget()
    for stream in 2 * connection.names.streams():
        try:
            await connection.api(f"STREAM.DELETE.{stream}")
        except JetStreamError as error:
            if error.err_code != STREAM_NOT_FOUND:
                raise
    connection.ready.clear()
