"""What the server knows of the queues: their consumers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from naq_core.errors import JetStreamError
from naq_core.names import is_queue
from naq_core.storage.connection import Connection
from naq_core.storage.subjects import LEVELS
from naq_core.transport.direct import get_many
from naq_core.transport.keeper import STREAM_NOT_FOUND


class ConsumerFacts(NamedTuple):
    """A queue's consumer of one level."""

    queue: str
    level: str
    pending: int
    """Jobs that no worker has had."""
    unsettled: int
    """Jobs delivered and not settled."""
    redelivered: int
    delivered: int
    """The highest stream sequence delivered."""
    is_paused: bool
    floor: int = 0
    """All up to this stream sequence is settled."""


async def list_consumers(connection: Connection, queue: str = "*") -> list[ConsumerFacts]:
    """Return the consumers of a queue or of all."""
    found: list[ConsumerFacts] = []
    offset = 0
    while True:
        try:
            answer = await connection.api(f"CONSUMER.LIST.{connection.names.jobs_stream}", {"offset": offset})
        except JetStreamError as error:
            if error.err_code == STREAM_NOT_FOUND:
                return []
            raise
        page = answer.get("consumers") or []
        for info in page:
            subject = info["config"].get("filter_subject", "")
            level, _, name = subject.removeprefix(f"{connection.names.jobs}.").removesuffix(".*").partition(".")
            if level not in LEVELS or not is_queue(name):
                continue  # a foreign one
            if queue in {"*", name}:
                found.append(
                    ConsumerFacts(
                        queue=name,
                        level=level,
                        pending=info["num_pending"],
                        unsettled=info["num_ack_pending"],
                        redelivered=info["num_redelivered"],
                        delivered=info["delivered"]["stream_seq"],
                        is_paused=bool(info.get("paused")),
                        floor=info.get("ack_floor", {}).get("stream_seq", 0),
                    )
                )
        offset += len(page)
        if not page or offset >= answer["total"]:
            return found


async def list_queue_levels(connection: Connection) -> dict[str, str]:
    """Return the names of all queues, each with a level that has a consumer."""
    found: dict[str, str] = {}
    offset = 0
    while True:
        try:
            answer = await connection.api(f"CONSUMER.NAMES.{connection.names.jobs_stream}", {"offset": offset})
        except JetStreamError as error:
            if error.err_code == STREAM_NOT_FOUND:
                return {}
            raise
        page = answer.get("consumers") or []
        places = [place for name in page if (place := connection.names.place_of(name)) is not None]
        found |= {queue: level for queue, level in places if is_queue(queue)}
        offset += len(page)
        if not page or offset >= answer["total"]:
            return found


async def follow_new_consumers(connection: Connection, on_created: Callable[[str, str], None]) -> None:
    """Call `on_created` with queue and level whenever a queue's consumer is created, until the connection is closed.

    The server tells of it in an advisory, which may be lost: look at `has_jobs` too, now and then.
    """
    names = connection.names

    def on_advisory(subject: bytes, _reply: bytes, _data: bytes, _headers: bytes) -> None:
        place = names.place_of(subject.decode(errors="replace").rpartition(".")[2])
        if place is not None:
            on_created(*place)

    await connection.client.listen(names.consumer_advisory("*"), on_advisory)


async def has_jobs(connection: Connection, places: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each level of a queue whether jobs lie there, delivered or not; any replica answers.

    Raises:
        BrokerTimeoutError, BrokerUnavailableError: The server did not answer in time.
    """
    names = connection.names
    requests: list[dict[str, Any]] = [{"last_by_subj": names.ready_filter(queue, level)} for queue, level in places]
    return [found is not None for found in await get_many(connection, names.jobs_stream, requests)]
