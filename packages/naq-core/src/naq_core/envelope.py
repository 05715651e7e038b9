"""The wire form of a job: the body of its message."""

import re
from typing import Annotated

import msgspec

from naq_core.decoding import Count, Decoder, Duration, Instant
from naq_core.errors import UnknownWireVersionError, UnreadableError
from naq_core.names import SIGNAL, check_parent_id, check_queue, is_signal
from naq_core.retry import RetryPolicy
from naq_core.signing import unsealed
from naq_core.source_text import SourceText

WIRE_VERSION = 1


class Callback(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job to be enqueued when another one has ended, as it is kept with that one (ADR 53)."""

    fn: str
    ct: str
    body: bytes
    """The call; its first argument is a place for the outcome, where it is `told`."""
    queue: str = ""
    """Empty: that of the job that has ended."""
    told: bool = True
    """Whether its first argument is the outcome."""
    by_value: bool = False
    args: str = ""
    """A preview of the arguments behind the outcome."""
    opt: "JobOptions | None" = None
    given: tuple[str, ...] | None = None
    """As `Envelope.given`."""
    expires_in: Duration = 0.0
    """Seconds from its enqueue on within which it has to be started; 0 means no limit."""
    source: tuple[SourceText, ...] = ()


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
    key: str = ""
    """It runs only while its key has room (`docs/adr/0054-keys.md`)."""
    headers: dict[str, str] = {}
    """Texts that travel with it."""
    on_success: tuple[Callback, ...] = ()
    """To be enqueued when it has succeeded."""
    on_failure: tuple[Callback, ...] = ()
    """To be enqueued when it has ended in any other way."""
    on_dead: tuple[Callback, ...] = ()
    """To be enqueued when it has failed for good."""

    def callbacks(self, state: str) -> tuple[Callback, ...]:
        """Return what is to be enqueued after the job has ended in a state."""
        if state == "succeeded":
            return self.on_success
        return (*self.on_failure, *self.on_dead) if state == "dead" else self.on_failure

    @property
    def has_callbacks(self) -> bool:
        """Whether a job is to be enqueued at an end of it."""
        return bool(self.on_success or self.on_failure or self.on_dead)


NO_OPTIONS = JobOptions()


class Parent(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A job that another one waits for, or a signal (`docs/adr/0058-signals.md`)."""

    id: str
    """Of a signal its name, after `signal:`."""
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


class EndedJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a callback is told of the job that has ended, as it was at that moment; times are seconds since the epoch."""

    id: str
    queue: str
    function: str
    state: str
    told: bool = True
    """Whether it is the callback's first argument."""
    attempts: Count = 0
    enqueued_at: Instant = 0.0
    started_at: Instant = 0.0
    ended_at: Instant = 0.0
    arguments: str = ""
    """A preview."""
    reason: str = ""
    error: tuple[str, str, str] = ("", "", "")
    """Type, message and traceback of the last error of a dead job."""
    workflow: str = ""
    schedule: str = ""
    tags: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    result_type: str = ""
    result: bytes = b""
    result_text: str = ""
    large: Large | None = None
    """Where the result is, if it is not in `result`."""


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job as stored. Fields may be added; a change of meaning takes a new version."""

    v: int
    """The version of this format: 1."""
    id: str
    """The job's id, as in its subject."""
    fn: str
    """The function's name, as `module:qualname`; only a label where it is in the body."""
    ct: str
    """Content type of `body`: pickle or json."""
    body: bytes
    """The arguments: a list of the positional ones and a mapping of the others."""
    at: Instant
    """When it was enqueued, seconds since the epoch."""
    by_value: bool = False
    """The function itself is in the body, as a pickle."""
    run: str = ""
    """The run of the id; empty means its only one."""
    args: str = ""
    """A preview of the arguments."""
    opt: JobOptions = NO_OPTIONS
    given: tuple[str, ...] | None = None
    """Of a job that was enqueued by a name: which of the options that a worker takes from the task were given. None: all."""
    after: tuple[Parent, ...] = ()
    """The jobs it waits for, and the signal, which comes first."""
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
    end: EndedJob | None = None
    """Of a callback: the job that has ended."""

    @property
    def parents(self) -> list[str]:
        """Ids of the jobs it waits for."""
        return [parent.id for parent in self.after if not is_signal(parent.id)]

    @property
    def signal(self) -> str:
        """Name of the signal it waits for; empty without one."""
        return next((parent.id.removeprefix(SIGNAL) for parent in self.after if is_signal(parent.id)), "")


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
    if envelope.end is not None and envelope.end.large is not None:
        check_large(envelope.end.large)
    for parent in envelope.after:
        check_parent_id(parent.id)
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
