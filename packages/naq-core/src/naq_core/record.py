"""The job record: what is known of a job from its first claim on, one JSON document in the results bucket."""

from enum import StrEnum

import msgspec

from naq_core.decoding import Count, Decoder, Instant
from naq_core.envelope import Large, check_large
from naq_core.errors import UnreadableError
from naq_core.names import check_job_id, check_queue


class JobState(StrEnum):
    """Where a job is in its life; `docs/state_machine.md` draws the moves."""

    QUEUED = "queued"
    """Ready to run; no worker has it, or one has just handed it back."""
    HELD = "held"
    """Stored, not ready: delayed, backing off or waiting."""
    RUNNING = "running"
    """A worker has claimed it."""
    RETRYING = "retrying"
    """The last attempt failed (or snoozed), the next one is due."""
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    """Failed for good; the whole job is kept for inspection and requeue."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended; only a manual requeue changes that."""
        return self in FINAL


FINAL = frozenset({JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED})

UNREADABLE = "?"
"""The function of a job of which nothing can be read."""


class AttemptError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one attempt did not succeed, as text; nothing is ever rebuilt from it."""

    type: str
    message: str
    traceback: str = ""
    attempt: Count = 0
    at: Instant = 0.0
    """When it ended."""
    worker: str = ""
    started: Instant = 0.0
    """When it began; 0 where that is not known."""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a job says it is."""

    done: float
    total: float | None = None
    note: str = ""


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line that a job logged."""

    at: Instant
    level: str
    message: str
    attempt: Count = 1


class JobRecord(msgspec.Struct, omit_defaults=True):
    """The state of a job. Times are seconds since the epoch (UTC) in the server's time."""

    state: JobState
    job_id: str
    queue: str
    function: str = ""
    run: str = ""
    """Distinguishes runs of one id; an old one's end does not stop a new one."""
    attempt: Count = 1
    crashes: Count = 0
    """How often a worker or child process died while running it."""
    excused: Count = 0
    """How many of `crashes` do not count against it, as other jobs ran in that worker and may have been the cause."""
    suspect: bool = False
    """A worker died under it: it runs alone in its worker next."""
    alone: bool = False
    """While RUNNING: no other job has run in its worker since it began."""
    worker: str = ""
    enqueued_at: Instant = 0.0
    started_at: Instant = 0.0
    ended_at: Instant = 0.0
    next_at: Instant = 0.0
    """When the next attempt is due, while RETRYING."""
    superseded: Count = 0
    """Stream sequence of a ready message that was replaced by a held one; a re-delivery of it is only acknowledged."""
    arguments: str = ""
    """A preview of the arguments, for people."""
    reason: str = ""
    errors: list[AttemptError] = []
    progress: Progress | None = None
    logs: list[LogLine] = []
    result_text: str = ""
    """A preview of the result, for people: nothing that shows jobs ever unpickles."""
    workflow: str = ""
    schedule: str = ""
    tags: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    sequence: Count = 0
    """Stream sequence of the message that was claimed, for ids with several runs: which of two is the later one."""
    result_type: str = ""
    result: bytes = b""
    large: Large | None = None
    """Where the result is, if it is not in `result`."""
    signature: bytes = b""
    """Of the result, where the worker has a signing key; see `naq_core.results`."""


class UnreadableRecord(JobRecord):
    """Stands for a record that cannot be read: of a job that is dead, with the reason as its error."""


def _check(record: JobRecord) -> None:
    check_queue(record.queue)
    check_job_id(record.job_id)
    if record.large is not None:
        check_large(record.large)


_encoder = msgspec.json.Encoder()
_decoder = Decoder("the record of a job", JobRecord, check=_check)


def encode_record(record: JobRecord) -> bytes:
    """Return the record as JSON."""
    return _encoder.encode(record)


def decode_record(data: bytes, subject: str = "") -> JobRecord:
    """Read a record.

    Args:
        subject: Its subject; the last two tokens are the queue and the id that the record must name. Empty: not compared.

    Raises:
        UnreadableError: It is not a record, or that of another job.
    """
    record = _decoder.decode(data)
    if subject and not subject.endswith(f".{record.queue}.{record.job_id}"):
        raise UnreadableError("the record of a job", f"it names job {record.job_id} of queue {record.queue}")
    return record


def record_at(subject: str, data: bytes) -> JobRecord | None:
    """Return what a record's subject holds: the record, or None for the marker that a deletion leaves.

    One that cannot be read is returned as an `UnreadableRecord`, so a caller that waits for the job, lists it or depends on it is
    shown as failed, with the reason.
    """
    if not data:
        return None
    try:
        return decode_record(data, subject)
    except UnreadableError as error:
        queue, job_id = subject.split(".")[-2:]
        return UnreadableRecord(
            state=JobState.DEAD,
            job_id=job_id,
            queue=queue,
            function=UNREADABLE,
            attempt=0,
            reason=str(error),
            errors=[AttemptError("Unreadable", str(error))],
        )
