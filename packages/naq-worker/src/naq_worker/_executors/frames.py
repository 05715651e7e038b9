"""What worker and child process say to each other: length-prefixed msgpack frames over a socket pair."""

from typing import Any, TypeAlias

import msgspec

from naq_core.dependency import ParentOutcome
from naq_core.record import LogLine
from naq_worker.outcome import Cancelled, Completed, Failed, Outcome, Short, Snoozed

LENGTH_BYTES = 4


class Setup(msgspec.Struct, tag=True):
    """First frame to the child."""

    path: list[str]
    serializer: str
    allowed: list[str]
    levels: dict[str, int] = {}
    """Of the worker's loggers."""
    logs: bool = True
    """Lines that jobs log are kept with them."""
    imports: list[str] = []
    hooks: list[bytes] = []
    """Of the settings, pickled."""
    middleware: list[bytes] = []
    """Of the settings, pickled."""
    overrides: list[bytes] = []
    """Values that are given instead of resources, pickled."""


class Run(msgspec.Struct, tag=True):
    """A job to run."""

    envelope: bytes
    queue: str
    attempt: int
    fence: int
    parents: tuple[ParentOutcome, ...] | None = None
    crashes: int = 0


class Started(msgspec.Struct, tag=True):
    """The child has the job: from here on its death counts against the job."""


class Broken(msgspec.Struct, tag=True):
    """The child cannot take jobs: an import or a hook has failed."""

    reason: str
    is_short: bool = False
    """It lacked memory, a file descriptor or the like: another one may start."""


class Logged(msgspec.Struct, tag=True):
    """A log record, to be handled in the worker, from this logger upwards."""

    begin_at: str
    fields: dict[str, Any]


class Report(msgspec.Struct, tag=True):
    """Progress of the running job."""

    done: float
    total: float | None
    note: str


class Line(msgspec.Struct, tag=True):
    """A line that the running job logged."""

    line: LogLine


class Ended(msgspec.Struct, tag=True):
    """The outcome of the job: the name of an outcome class and its fields."""

    kind: str
    fields: dict[str, Any]


ToChild: TypeAlias = Setup | Run
FromChild: TypeAlias = Started | Broken | Logged | Report | Line | Ended
Answer: TypeAlias = Started | Broken | Ended

_OUTCOMES: dict[str, Any] = {each.__name__: each for each in (Completed, Failed, Snoozed, Cancelled, Short)}
_encoder = msgspec.msgpack.Encoder()
decode_to_child = msgspec.msgpack.Decoder(ToChild).decode
decode_from_child = msgspec.msgpack.Decoder(FromChild).decode


def frame(message: ToChild | FromChild) -> bytes:
    """Return a message with its length before it."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def ended(outcome: Outcome) -> Ended:
    """Return the frame of an outcome; an exception stays in its process, its traceback goes as text."""
    names = outcome.__dataclass_fields__.keys() - {"error"}
    return Ended(type(outcome).__name__, {name: getattr(outcome, name) for name in names})


def outcome_of(message: Ended) -> Outcome:
    """Return the outcome of a frame."""
    outcome: Outcome = _OUTCOMES[message.kind](**message.fields)
    return outcome
