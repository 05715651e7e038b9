"""Compares the streams and consumers on the server with those that NAQ wants, and updates them."""

from itertools import product
from typing import Any

import msgspec

from naq_core.errors import JetStreamError
from naq_core.names import check_queue
from naq_core.storage.connection import Connection
from naq_core.storage.stream_configs import optional_configs, stream_configs
from naq_core.storage.subjects import LEVELS
from naq_core.storage.topology import MUST, create_consumer, ensure_stream_config, most_consumers
from naq_core.transport.keeper import CONSUMER_NOT_FOUND, STREAM_NOT_FOUND


class TopologyItem(msgspec.Struct, kw_only=True):
    """A stream, bucket or consumer: whether it is there and as it should be."""

    kind: str
    """stream or consumer."""
    name: str
    state: str
    """ok, missing, differs; after `apply_topology` also created or updated."""
    differences: dict[str, str] = {}
    """Setting: what was found, and what is wanted."""
    breaks_promises: bool = False
    """NAQ refuses to work with it."""
    can_update: bool = False
    """The server can change it while it is in use."""


async def check_topology(connection: Connection, queues: list[str] | None = None) -> list[TopologyItem]:
    """Compare every stream and every queue's consumers with what is wanted; nothing is changed.

    Args:
        queues: Queues whose consumers must be there, of all priorities. Of other queues only the consumers that exist are
            looked at, and that of normal priority: the others are created with the first job of their priority.
    """
    items = [await _check_stream(connection, wanted) for wanted in stream_configs(connection)]
    found = {} if items[0].state == "missing" else await _consumers(connection)
    names = connection.names
    named = [check_queue(queue) for queue in queues or ()]
    wanted_queues = dict.fromkeys([*named, *_queues_of(connection, found)])
    for queue in wanted_queues:
        for consumer, subject in names.consumers(queue):
            config = found.get(consumer)
            if config is None:
                if queue in named or consumer == names.consumer(queue):
                    items.append(TopologyItem(kind="consumer", name=consumer, state="missing"))
            else:
                items.append(_check_consumer(connection, consumer, subject, config))
    return items


async def apply_topology(
    connection: Connection, queues: list[str], *, update: bool = False, dry_run: bool = False
) -> list[TopologyItem]:
    """Create what is missing, and with `update` change what differs and can be changed.

    Returns:
        Every stream and consumer, with what was (or, with `dry_run`, would be) done to it as its state.

    Raises:
        BrokerError: The server refused.
    """
    items = await check_topology(connection, queues)
    optional = optional_configs(connection)
    items += [await _check_stream(connection, wanted) for wanted in optional]
    configs = {wanted["name"]: wanted for wanted in (*stream_configs(connection), *optional)}
    missing_consumers = False
    for item in items:
        if item.state == "missing":
            item.state = "created"
            if item.kind == "consumer":
                missing_consumers = True
            elif not dry_run:
                await ensure_stream_config(connection, configs[item.name])
        elif item.state == "differs" and item.can_update and update:
            item.state = "updated"
            if not dry_run and item.kind == "stream":
                await _update_stream(connection, configs[item.name])
            elif not dry_run:
                await _update_consumer(connection, item.name)
    if missing_consumers and not dry_run:
        for queue, level in product(queues, LEVELS):
            await create_consumer(connection, queue, level)
    return items


async def _check_stream(connection: Connection, wanted: dict[str, Any]) -> TopologyItem:
    name = wanted["name"]
    try:
        answer = await connection.api(f"STREAM.INFO.{name}")
    except JetStreamError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise
        return TopologyItem(kind="stream", name=name, state="missing")
    found = answer["config"]
    different = {key for key in wanted if found.get(key) != wanted[key]}
    if found.get("max_consumers", -1) > 0:
        different.discard("max_consumers")  # set on purpose, or as many as the account allows
    return TopologyItem(
        kind="stream",
        name=name,
        state="differs" if different else "ok",
        differences={key: f"{_shown(found.get(key))}, wanted {_shown(wanted[key])}" for key in sorted(different)},
        breaks_promises=bool(different & set(MUST)),
        can_update=bool(different) and not different & {"retention", "storage"},
    )


def _check_consumer(connection: Connection, name: str, subject: str, found: dict[str, Any]) -> TopologyItem:
    wanted = {
        "filter_subject": subject,
        "ack_policy": "explicit",
        "ack_wait": int(connection.settings.ack_wait.total_seconds() * 1e9),
        "max_deliver": -1,
    }
    different = {key for key in wanted if found.get(key) != wanted[key]}
    return TopologyItem(
        kind="consumer",
        name=name,
        state="differs" if different else "ok",
        differences={
            key: f"{_shown(_seconds(key, found.get(key)))}, wanted {_shown(_seconds(key, wanted[key]))}"
            for key in sorted(different)
        },
        breaks_promises=bool(different - {"ack_wait"}),
        can_update=different == {"ack_wait"},
    )


async def _consumers(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return the configuration of every consumer of the jobs stream."""
    found: dict[str, dict[str, Any]] = {}
    while True:
        answer = await connection.api(f"CONSUMER.LIST.{connection.names.jobs_stream}", {"offset": len(found)})
        page = answer.get("consumers") or []
        found |= {each["name"]: each["config"] for each in page}
        if not page or len(found) >= int(answer.get("total", 0)):
            return found


def _queues_of(connection: Connection, consumers: dict[str, dict[str, Any]]) -> list[str]:
    prefix = f"{connection.names.jobs}."
    subjects = [str(config.get("filter_subject", "")) for config in consumers.values()]
    return sorted({subject.split(".")[-2] for subject in subjects if subject.startswith(prefix) and subject.endswith(".*")})


async def _update_stream(connection: Connection, wanted: dict[str, Any]) -> None:
    found = (await connection.api(f"STREAM.INFO.{wanted['name']}"))["config"]
    changed = {**found, **wanted}
    if "max_consumers" in wanted:
        limit = found.get("max_consumers", -1)
        changed["max_consumers"] = limit if limit > 0 else await most_consumers(connection)
    await connection.api(f"STREAM.UPDATE.{wanted['name']}", changed)


async def _update_consumer(connection: Connection, name: str) -> None:
    stream = connection.names.jobs_stream
    try:
        config = (await connection.api(f"CONSUMER.INFO.{stream}.{name}"))["config"]
    except JetStreamError as error:
        if error.err_code == CONSUMER_NOT_FOUND:
            return  # deleted meanwhile; the next process that needs it creates it
        raise
    config["ack_wait"] = int(connection.settings.ack_wait.total_seconds() * 1e9)
    subject = f"CONSUMER.CREATE.{stream}.{name}.{config['filter_subject']}"
    await connection.api(subject, {"stream_name": stream, "config": config, "action": "update"})


def _seconds(key: str, value: Any) -> Any:
    return f"{value / 1e9:g} s" if key == "ack_wait" and isinstance(value, int) else value


def _shown(value: Any) -> str:
    return "nothing" if value is None else msgspec.json.encode(value).decode()
