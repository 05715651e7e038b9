"""What the server knows of the queues: their consumers."""

from typing import NamedTuple

from naq_core._nats.connection import Connection
from naq_core._nats.keeper import STREAM_NOT_FOUND
from naq_core.errors import JetStreamError

MOST = 10_000
"""Consumers that are read at most."""


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
    while offset < MOST:
        try:
            answer = await connection.api(f"CONSUMER.LIST.{connection.names.jobs_stream}", {"offset": offset})
        except JetStreamError as error:
            if error.err_code == STREAM_NOT_FOUND:
                return []
            raise
        page = answer.get("consumers") or []
        for info in page:
            subject = info["config"].get("filter_subject", "")
            if subject.count(".") < 3:
                continue  # a foreign one
            level, name = subject.split(".")[-3:-1]
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
            break
    return found
