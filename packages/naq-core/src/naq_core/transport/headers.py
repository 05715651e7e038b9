"""The headers of messages: those that the server knows, and how a block of them is read."""

import math

EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
TTL = "Nats-TTL"
SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"
SCHEDULE_NEXT = "Nats-Schedule-Next"
BATCH_ID = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"
MESSAGE_ID = "Nats-Msg-Id"
ROLLUP = "Nats-Rollup"
INCREMENT = "Nats-Incr"
KV_OPERATION = "KV-Operation"
SCHEDULER = "Nats-Scheduler"
FIRST = "Naq-First"
"""Our own header on the first try of a job whose id nobody else can have used: the start of the server that it was sent to. While
that server runs, its count of deliveries is right, and at the first one nobody can have run the job."""
STATUS_AT = len("NATS/1.0")


def parse_headers(block: bytes | None) -> dict[str, str]:
    """Return a header block as a dictionary; an inline status becomes `Status` and `Description`."""
    if not block:
        return {}
    first, *lines = block.decode(errors="replace").split("\r\n")
    parsed: dict[str, str] = {}
    if len(first) > STATUS_AT:
        parsed["Status"], _, parsed["Description"] = first[STATUS_AT:].strip().partition(" ")
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            parsed[name] = value.strip()
    return parsed


def ttl_text(seconds: float) -> str:
    """Return the value of a `Nats-TTL`, in whole seconds: never shorter than asked for, and the server takes none below 1."""
    return f"{max(1, math.ceil(seconds))}s"
