"""The outcome of one attempt; `_settle` acts on it, `_attempt` knows nothing of NATS."""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Completed:
    """The function returned."""

    content_type: str
    result: bytes
    text: str = ""
    """A preview of the result."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised, or could not be called."""

    type: str
    message: str
    traceback: str = ""
    retry: bool = True
    """Whether the policy's filters let it be retried (the count is decided later)."""
    delay: float | None = None
    """Seconds asked for by `Retry(delay=…)`."""
    error: BaseException | None = field(default=None, compare=False, repr=False)
    """What the function raised in this process, with the traceback from the job's own frames on."""


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The job asked to be run later, without using up an attempt."""

    delay: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job gave up without failing."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Crashed:
    """The child process died under the job."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker took the job back: it stops, or it has lost the lease."""

    lease_lost: bool = False


@dataclass(frozen=True, slots=True)
class Short:
    """The worker could not do its own part, such as starting a thread: the job goes back to its queue, as it was."""

    reason: str
    may_be_the_jobs: bool = False
    """As of `ShortageError`: such a job ends as failed after many deliveries."""


Outcome: TypeAlias = Completed | Failed | Snoozed | Cancelled | Crashed | Interrupted | Short
