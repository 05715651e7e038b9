"""What is kept of a workflow: a small head, and lists of its jobs in parts, in a bucket of its own."""

from collections.abc import Sequence

import msgspec

from naq_core.decoding import Count, Decoder, Instant
from naq_core.errors import JetStreamError, UnreadableError, WorkflowError, WorkflowNotFoundError, WrongSequenceError
from naq_core.names import check_job_id, check_queue, new_id
from naq_core.storage.connection import Connection
from naq_core.storage.stream_configs import bucket_config
from naq_core.storage.topology import ensure_stream_config
from naq_core.transport.direct import Entry
from naq_core.transport.headers import EXPECTED_SEQUENCE, TTL, ttl_text
from naq_core.transport.keeper import STREAM_NOT_FOUND
from naq_core.transport.many import read_many
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last

HEAD = "head"
PART_SIZE = 256 * 1024
"""Bytes of a part; a job takes some hundred, and 30 for each of its parents."""


class Head(msgspec.Struct, omit_defaults=True):
    """A workflow without its jobs."""

    name: str = ""
    created_at: Instant = 0.0
    total: Count = 0
    """How many jobs it was enqueued with."""
    token: str = ""
    """Tells an enqueue that is repeated from another workflow of the same id."""


class Member(msgspec.Struct, array_like=True, frozen=True):
    """A job of a workflow."""

    job_id: str
    queue: str
    function: str
    parents: list[str]


def _check(members: list[Member]) -> None:
    for member in members:
        check_queue(member.queue)
        check_job_id(member.job_id)


_encoder = msgspec.json.Encoder()
_head = Decoder("the head of a workflow", Head)
_members = Decoder("a list of jobs of a workflow", list[Member], check=_check)


async def ensure_bucket(connection: Connection) -> None:
    """Create the bucket where it is missing; only who makes a workflow needs it."""
    names = connection.names
    await ensure_stream_config(connection, bucket_config(names.workflows_stream, names.workflows, connection.settings.replicas))


def _ttl(connection: Connection) -> str:
    """As long as anything of its jobs may be kept."""
    settings = connection.settings
    longest = max(settings.result_ttl, settings.failure_ttl, settings.dead_ttl)
    return ttl_text(longest.total_seconds())


async def write_head(connection: Connection, workflow_id: str, head: Head) -> None:
    """Store the head of a new workflow; repeating it is safe.

    Raises:
        WorkflowError: Another workflow has this id.
    """
    await ensure_bucket(connection)
    headers = {EXPECTED_SEQUENCE: "0", TTL: _ttl(connection)}
    try:
        await connection.publish(connection.names.workflow(workflow_id, HEAD), _encoder.encode(head), headers)
    except WrongSequenceError as error:
        if (await read_head(connection, workflow_id)).token != head.token:
            raise WorkflowError(f"a workflow with the id {workflow_id!r} already exists: choose another id") from error


async def add_members(connection: Connection, workflow_id: str, members: Sequence[Member]) -> None:
    """Store a list of jobs, in parts; a job that is listed twice counts once."""
    await ensure_bucket(connection)
    part: list[bytes] = []
    size = 0
    for member in members:
        encoded = _encoder.encode(member)
        connection.check_size(f"the list of parents of job {member.job_id}", len(encoded))
        if part and size + len(encoded) > PART_SIZE:
            await _write_part(connection, workflow_id, part)
            part, size = [], 0
        part.append(encoded)
        size += len(encoded) + 1
    if part:
        await _write_part(connection, workflow_id, part)


async def _write_part(connection: Connection, workflow_id: str, part: Sequence[bytes]) -> None:
    subject = connection.names.workflow(workflow_id, new_id())
    await connection.publish(subject, b"[" + b",".join(part) + b"]", {TTL: _ttl(connection)})


async def read_head(connection: Connection, workflow_id: str) -> Head:
    """Read a workflow's head.

    Raises:
        WorkflowNotFoundError: No workflow has this id. UnreadableError: It cannot be read.
    """
    names = connection.names
    message = await read_last(connection, names.workflows_stream, names.workflow(workflow_id, HEAD))
    if message is None or not message.data:
        raise WorkflowNotFoundError(workflow_id)
    return _head.decode(message.data)


async def read_workflow(connection: Connection, workflow_id: str) -> tuple[Head, list[Member]]:
    """Read a workflow with its jobs, in the order in which they were added.

    Raises:
        WorkflowNotFoundError: No workflow has this id. UnreadableError: A part of it cannot be read.
    """
    found = (await read_workflows(connection, [workflow_id])).get(workflow_id)
    if found is None:
        raise WorkflowNotFoundError(workflow_id)
    if isinstance(found, UnreadableError):
        raise found
    return found


async def read_workflows(
    connection: Connection, workflow_ids: Sequence[str]
) -> dict[str, tuple[Head, list[Member]] | UnreadableError]:
    """Read those workflows of which there are heads, in this order; of one that cannot be read, the reason."""
    names = connection.names
    subjects = [names.workflow(workflow_id, "*") for workflow_id in workflow_ids]
    parts: dict[str, list[Message]] = {workflow_id: [] for workflow_id in workflow_ids}
    for each in await read_many(connection, names.workflows_stream, subjects, f"{names.workflows}.>"):
        if each.data:
            parts.setdefault(each.subject.split(".")[-2], []).append(each)
    found: dict[str, tuple[Head, list[Member]] | UnreadableError] = {}
    for workflow_id in workflow_ids:
        heads = [each for each in parts[workflow_id] if each.subject.endswith(f".{HEAD}")]
        try:
            for head in heads:
                found[workflow_id] = _head.decode(head.data), _listed(parts[workflow_id])
        except UnreadableError as error:
            found[workflow_id] = error
    return found


def _listed(parts: Sequence[Message]) -> list[Member]:
    """Return the jobs in the parts of a workflow's list."""
    members: dict[tuple[str, str], Member] = {}
    for each in sorted(parts, key=lambda each: each.sequence):
        if not each.subject.endswith(f".{HEAD}"):
            members |= {(member.queue, member.job_id): member for member in _members.decode(each.data)}
    return list(members.values())


def check_part(part: Message | Entry) -> None:
    """Refuse what is no part of a workflow.

    Raises:
        UnreadableError: The document is malformed.
    """
    (_head if part.subject.endswith(f".{HEAD}") else _members).decode(part.data)


async def read_ids(connection: Connection) -> list[tuple[str, int]]:
    """Return id and stream sequence of every workflow that is kept, the newest first."""
    names = connection.names
    try:
        await connection.api(f"STREAM.INFO.{names.workflows_stream}")
    except JetStreamError as error:
        if error.err_code == STREAM_NOT_FOUND:
            return []
        raise
    found = await read_many(connection, names.workflows_stream, [names.workflow("*", HEAD)], f"{names.workflows}.>")
    heads = [(each.subject.split(".")[-2], each.sequence) for each in found if each.data and each.subject.endswith(f".{HEAD}")]
    return sorted(heads, key=lambda head: -head[1])
