"""The wire form of a job: the body of its message."""

import re
from typing import Annotated

import msgspec

from naq_core.decoding import Count, Decoder, Duration, Instant
from naq_core.errors import UnknownWireVersionError, UnreadableError
from naq_core.names import check_job_id, check_queue
from naq_core.retry import RetryPolicy
from naq_core.signing import unsealed
from naq_core.source_text import SourceText

WIRE_VERSION = 1


class JobOptions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a job is to be run; shared by all jobs enqueued with the same options."""

    retry: RetryPolicy = RetryPolicy()
    timeout: Duration | None = None
    """Seconds one attempt may take; None means no limit."""
    result_ttl: Duration | None = None
    """Seconds the record is kept after success; None means the worker's setting."""
    process: bool = False
    """Run in a child process, which can really be killed."""
    fast: bool = False
    """No claim, no record, no result: at least once, for cheap idempotent jobs."""
    claim: Annotated[str, msgspec.Meta(pattern="^(?:late|first)$")] = "late"
    """When it is claimed: shortly after its start where that is safe, or always before it."""
    priority: Annotated[str, msgspec.Meta(pattern="^(?:high|normal|low)$")] = "normal"
    """The level it is ready on: high, normal or low."""
    tags: tuple[str, ...] = ()
    """Words to find it by."""
    headers: dict[str, str] = {}
    """Texts that travel with it."""


NO_OPTIONS = JobOptions()


class Parent(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A job that another one waits for."""

    id: str
    queue: str = "*"
    """`*` where only the id was given."""
    lenient: bool = False
    """Its failure does not matter (`allow_failure`)."""


class Fill(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """An argument that is the result of parents."""

    at: int | str
    """Position or name of the argument."""
    of: tuple[int, ...]
    """Which parents, by their place in `Envelope.after`."""
    many: bool = False
    """A list of their results, instead of the one result."""
    shape: tuple[int, ...] = ()
    """How that list is nested: a length for each list, -1 for each result, from the outside in; empty for a flat list."""


class Large(msgspec.Struct, frozen=True, array_like=True):
    """Where bytes lie that are too large for a message."""

    name: str
    """Of the object in the object store."""
    size: Count
    digest: bytes
    """SHA-256."""


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job as stored. Fields may be added; a change of meaning takes a new version."""

    v: int
    id: str
    fn: str
    ct: str
    """Content type of `body`: pickle or json."""
    body: bytes
    at: Instant
    """When it was enqueued, seconds since the epoch."""
    by_value: bool = False
    run: str = ""
    """The run of the id; empty means its only one."""
    args: str = ""
    """A preview of the arguments."""
    opt: JobOptions = NO_OPTIONS
    given: tuple[str, ...] | None = None
    """Of a job that was enqueued by a name: the run options that were given; the others are the task's. None: `opt` is all."""
    after: tuple[Parent, ...] = ()
    """The jobs it waits for."""
    fill: tuple[Fill, ...] = ()
    """Arguments to fill with results of the parents."""
    tell: bool = False
    """Pass the parents' outcomes to the job (`parent_results`)."""
    workflow: str = ""
    schedule: str = ""
    """The schedule that fired it."""
    expires: Instant = 0.0
    """Not to be started after this time (seconds since the epoch); 0 means never too late."""
    large: Large | None = None
    """Where the body is, if it is not in `body`."""
    source: tuple[SourceText, ...] = ()
    """Lines of a function that is in the body, for tracebacks."""

    @property
    def parents(self) -> list[str]:
        """Ids of the jobs it waits for."""
        return [parent.id for parent in self.after]


_LARGE = re.compile(r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_=-]{1,128}\.(?:args|result)\.[0-9a-f]{1,64}")


def check_large(large: Large) -> None:
    """Refuse a name that is not of NAQ's: it becomes part of subjects that are read and purged.

    Raises:
        ValueError: It is another.
    """
    if not _LARGE.fullmatch(large.name):
        raise ValueError(f"{large.name[:200]!r} is not the name of a large payload")


def _check(envelope: Envelope) -> None:
    if not envelope.opt.retry.delays:
        raise ValueError("its retry policy has no delay")
    if envelope.large is not None:
        check_large(envelope.large)
    for parent in envelope.after:
        check_job_id(parent.id)
        if parent.queue != "*":
            check_queue(parent.queue)
    for fill in envelope.fill:
        if not all(0 <= place < len(envelope.after) for place in fill.of):
            raise ValueError("an argument refers to a parent that it does not have")


class _Version(msgspec.Struct):
    v: int


_encoder = msgspec.msgpack.Encoder()
_decoder = Decoder("the job", Envelope, "msgpack", _check)
_version_decoder = Decoder("the job", _Version, "msgpack")


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the message body."""
    return _encoder.encode(envelope)


def decode_envelope(data: bytes) -> Envelope:
    """Read a message body; a signature is passed over, `Signer.open` is what verifies it.

    Raises:
        UnknownWireVersionError: Written by a newer NAQ.
        UnreadableError: Not a job.
    """
    data = unsealed(data)
    try:
        envelope = _decoder.decode(data)
    except UnreadableError as error:
        if (version := _version_of(data)) != WIRE_VERSION:
            raise UnknownWireVersionError(version) from error
        raise
    if envelope.v != WIRE_VERSION:
        raise UnknownWireVersionError(envelope.v)
    return envelope


def _version_of(data: bytes) -> int:
    try:
        return _version_decoder.decode(data).v
    except UnreadableError:
        return WIRE_VERSION
