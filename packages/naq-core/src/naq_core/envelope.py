"""The wire form of a job: what lies on its subject."""

import msgspec

from naq_core.errors import DecodeError, UnknownWireVersionError
from naq_core.retry import RetryPolicy
from naq_core.signing import unsealed

WIRE_VERSION = 1


class JobOptions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a job is to be run; shared by all jobs enqueued with the same options."""

    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = None
    """Seconds one attempt may take; None means no limit."""
    result_ttl: float | None = None
    """Seconds the record is kept after success; None means the worker's setting."""
    process: bool = False
    """Run in a child process, which can really be killed."""
    fast: bool = False
    """No claim, no record, no result: at least once, for cheap idempotent jobs."""
    priority: str = "normal"
    """The level it is ready on: high, normal or low."""


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


class Large(msgspec.Struct, frozen=True, array_like=True):
    """Where bytes lie that are too large for a message."""

    name: str
    """Of the object in the object store."""
    size: int
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
    at: float
    """When it was enqueued, seconds since the epoch."""
    by_value: bool = False
    run: str = ""
    """The incarnation of the id; empty means the id itself."""
    args: str = ""
    """A preview of the arguments."""
    opt: JobOptions = NO_OPTIONS
    after: tuple[Parent, ...] = ()
    """The jobs it waits for."""
    fill: tuple[Fill, ...] = ()
    """Arguments to be filled with results of theirs."""
    tell: bool = False
    """Give the job what its parents came to (`parent_results`)."""
    workflow: str = ""
    schedule: str = ""
    """The schedule that fired it."""
    expires: float = 0.0
    """Not to be started after this time (seconds since the epoch); 0 means never too late."""
    large: Large | None = None
    """Where the body is, if it is not in `body`."""

    @property
    def parents(self) -> list[str]:
        """Ids of the jobs it waits for."""
        return [parent.id for parent in self.after]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


class _Version(msgspec.Struct):
    v: int


_version_decoder = msgspec.msgpack.Decoder(_Version)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the message body."""
    return _encoder.encode(envelope)


def decode_envelope(data: bytes) -> Envelope:
    """Read a message body; a signature is passed over, `Signer.open` is what verifies it.

    Raises:
        UnknownWireVersionError: Written by a newer NAQ.
        DecodeError: Not a job.
    """
    data = unsealed(data)
    try:
        envelope = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        try:
            version = _version_decoder.decode(data).v
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            version = WIRE_VERSION
        if version != WIRE_VERSION:
            raise UnknownWireVersionError(version) from error
        raise DecodeError(f"not a job: {error}") from error
    if envelope.v != WIRE_VERSION:
        raise UnknownWireVersionError(envelope.v)
    return envelope
