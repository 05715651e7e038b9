"""The moves between the states of a job: the only code that assigns the state of a record.

A function for each move changes the record it is given, and refuses with `TransitionError` what `MOVES` does not list. None of
them stores anything: the caller compares-and-sets the record. `docs/state_machine.md` shows the same table.
"""

import msgspec

from naq_core.envelope import NO_OPTIONS, Envelope, JobOptions
from naq_core.errors import TransitionError
from naq_core.record import FINAL, AttemptError, JobRecord, JobState

MOST_ERRORS = 20
"""How many errors a record keeps: the first one and the newest."""
MOST_TRACEBACKS = 3

_QUEUED, _HELD, _RUNNING, _RETRYING = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.RETRYING
_SUCCEEDED, _DEAD, _CANCELLED, _EXPIRED = JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED

MOVES: dict[tuple[JobState, JobState], str] = {
    (_HELD, _QUEUED): "due, run now, or the other jobs have ended",
    (_HELD, _CANCELLED): "cancelled, or a job it waits for did not succeed",
    (_HELD, _EXPIRED): "past its expiry",
    (_QUEUED, _RUNNING): "claimed by a worker",
    (_QUEUED, _HELD): "still waits for other jobs",
    (_QUEUED, _SUCCEEDED): "returned before it was claimed",
    (_QUEUED, _RETRYING): "must run alone, later, or failed with retries left or snoozed before it was claimed",
    (_QUEUED, _DEAD): "not a job, its record cannot be read, or retries used up before it was claimed",
    (_QUEUED, _CANCELLED): "cancelled, raised Cancel before it was claimed, or a job it waits for did not succeed",
    (_QUEUED, _EXPIRED): "past its expiry",
    (_RUNNING, _SUCCEEDED): "returned",
    (_RUNNING, _RETRYING): "failed with retries left, snoozed, or its worker or process died",
    (_RUNNING, _QUEUED): "returned to the queue by a worker that stops or lacks resources",
    (_RUNNING, _RUNNING): "ended, but the end could not be stored",
    (_RUNNING, _DEAD): "retries used up, too many crashes, or purged while its worker died",
    (_RUNNING, _CANCELLED): "cancelled, or raised Cancel",
    (_RUNNING, _EXPIRED): "past its expiry when it was to run again",
    (_RETRYING, _RUNNING): "due and claimed again",
    (_RETRYING, _RETRYING): "must run alone, later",
    (_RETRYING, _CANCELLED): "cancelled",
    (_RETRYING, _EXPIRED): "past its expiry",
    (_DEAD, _QUEUED): "requeued by hand",
    (_CANCELLED, _QUEUED): "requeued by hand",
}
"""Every move a job can make, and what causes it. A job begins as QUEUED or HELD.

A job that ends soon after its start need not be claimed: what is stored of it goes from QUEUED to its end, although the record in
its worker's memory is RUNNING in between.
"""

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    state: frozenset(after for before, after in MOVES if before is state) for state in JobState
}
"""The states that can follow each state."""


def _before(state: JobState, *only: JobState) -> frozenset[JobState]:
    """Return the states that a state can follow; with `only`, those of them in which a function's move begins."""
    return frozenset(before for before in only or JobState if state in TRANSITIONS[before])


_CLAIMED, _RUN_AGAIN = _before(_RUNNING, _QUEUED, _RETRYING), _before(_RUNNING, _RUNNING)
_RETURNED = _before(_SUCCEEDED, _RUNNING)
_FAILED, _PUT_OFF = _before(_RETRYING, _RUNNING), _before(_RETRYING, _QUEUED, _RETRYING)
_HANDED_BACK, _PUT_BACK = _before(_QUEUED, _RUNNING), _before(_QUEUED, *FINAL)
_NOT_STORED = frozenset({_SUCCEEDED})
_TO = {state: _before(state) for state in FINAL}


def _check(record: JobRecord, state: JobState, before: frozenset[JobState]) -> None:
    if record.state not in before:
        raise TransitionError(record.job_id, record.state, state)


def _move(record: JobRecord, state: JobState, before: frozenset[JobState]) -> None:
    _check(record, state, before)
    record.state = state


def unclaimed(  # noqa: PLR0913 - the fields of a record
    job_id: str,
    queue: str,
    function: str,
    *,
    is_held: bool = False,
    run: str = "",
    enqueued_at: float = 0.0,
    arguments: str = "",
    workflow: str = "",
    schedule: str = "",
    options: JobOptions = NO_OPTIONS,
    sequence: int = 0,
) -> JobRecord:
    """Return the record of a job that no worker has claimed: QUEUED, or HELD."""
    return JobRecord(
        state=_HELD if is_held else _QUEUED,
        job_id=job_id,
        queue=queue,
        function=function,
        run=run,
        attempt=0,
        enqueued_at=enqueued_at,
        arguments=arguments,
        workflow=workflow,
        schedule=schedule,
        tags=options.tags,
        headers=options.headers,
        sequence=sequence,
    )


def claimed(envelope: Envelope, queue: str, worker: str, now: float, sequence: int) -> JobRecord:
    """Return the record of the first claim of a job: QUEUED → RUNNING, attempt 1.

    Args:
        sequence: The stream sequence of its message.
    """
    return JobRecord(
        state=_RUNNING,
        job_id=envelope.id,
        queue=queue,
        function=envelope.fn,
        run=envelope.run,
        worker=worker,
        enqueued_at=envelope.at,
        started_at=now,
        arguments=envelope.args,
        workflow=envelope.workflow,
        schedule=envelope.schedule,
        tags=envelope.opt.tags,
        headers=envelope.opt.headers,
        sequence=sequence if envelope.run else 0,
    )


def claimed_again(old: JobRecord, claim: JobRecord, now: float) -> JobRecord:
    """Return the claim of a job that has a record, with its history: QUEUED or RETRYING → RUNNING.

    A job that was handed back repeats its attempt, a retry begins the next one.

    Args:
        claim: What `claimed` returned.
    """
    if old.state is not _HELD:  # the server makes a held job ready, which no record shows
        _check(old, _RUNNING, _CLAIMED)
    attempt = old.attempt + 1 if old.state is _RETRYING else old.attempt
    return _with_history(old, claim, attempt, now)


def run_again(old: JobRecord, claim: JobRecord, now: float, error: AttemptError) -> JobRecord:
    """Return the claim of a job whose attempt ended, but whose end could not be stored: RUNNING → RUNNING, the same attempt."""
    _check(old, _RUNNING, _RUN_AGAIN)
    record = _with_history(old, claim, old.attempt, now)
    note_error(record, error)
    return record


def _with_history(old: JobRecord, claim: JobRecord, attempt: int, now: float) -> JobRecord:
    return msgspec.structs.replace(
        claim,
        attempt=max(1, attempt),
        crashes=old.crashes,
        excused=old.excused,
        suspect=old.suspect,
        errors=old.errors,
        logs=old.logs,
        started_at=now,
    )


def succeeded(record: JobRecord, now: float) -> None:
    """The function returned: RUNNING → SUCCEEDED."""
    _move(record, _SUCCEEDED, _RETURNED)
    record.ended_at = now


def not_stored(record: JobRecord) -> None:
    """The server does not take the result that came with the success: the record is that of a running job, as it is stored."""
    _move(record, _RUNNING, _NOT_STORED)
    record.ended_at = 0.0


def retrying(record: JobRecord, next_at: float) -> None:
    """The attempt failed, snoozed or crashed: RUNNING → RETRYING."""
    _move(record, _RETRYING, _FAILED)
    record.next_at = next_at


def worker_lost(record: JobRecord, error: AttemptError) -> None:
    """The worker died under the job: RUNNING → RETRYING, due at once."""
    retrying(record, 0.0)
    record.worker, record.progress = "", None
    note_error(record, error)


def put_off(record: JobRecord, next_at: float) -> None:
    """The job has to run alone, and no worker is free for it: QUEUED or RETRYING → RETRYING; it uses up no attempt."""
    is_queued = record.state is _QUEUED
    _move(record, _RETRYING, _PUT_OFF)
    record.attempt -= is_queued  # the claim of a retry adds one
    record.next_at = next_at


def handed_back(record: JobRecord, reason: str) -> None:
    """The worker gives the job back unfinished: RUNNING → QUEUED."""
    _move(record, _QUEUED, _HANDED_BACK)
    record.alone, record.reason = False, reason


def dead(record: JobRecord, now: float) -> None:
    """The job failed for good: QUEUED or RUNNING → DEAD."""
    _move(record, _DEAD, _TO[_DEAD])
    record.ended_at = now


def cancelled(record: JobRecord, now: float, reason: str) -> None:
    """The job was cancelled, or gave up: any state that is not final → CANCELLED."""
    _move(record, _CANCELLED, _TO[_CANCELLED])
    record.ended_at, record.next_at, record.reason = now, 0.0, reason


def expired(record: JobRecord, now: float, reason: str = "") -> None:
    """The job was not started before its expiry: any state that is not final → EXPIRED. A claim that comes too late is undone."""
    is_claim = record.state is _RUNNING
    _move(record, _EXPIRED, _TO[_EXPIRED])
    if is_claim:
        record.attempt, record.worker, record.started_at = record.attempt - 1, "", 0.0
    record.ended_at, record.next_at, record.reason = now, 0.0, reason


def put_back(record: JobRecord, reason: str) -> None:
    """The job begins again by hand: DEAD or CANCELLED → QUEUED, before its first attempt. Its errors and log lines stay."""
    _move(record, _QUEUED, _PUT_BACK)
    record.attempt = record.crashes = record.excused = record.superseded = 0
    record.suspect = record.alone = False
    record.started_at = record.ended_at = record.next_at = 0.0
    record.worker, record.progress, record.reason = "", None, reason


def note_error(record: JobRecord, error: AttemptError) -> None:
    """Add to the errors of a job: the first and the newest are kept, with the tracebacks of the last few."""
    errors = [*record.errors, error]
    if len(errors) > MOST_ERRORS:
        errors = [errors[0], *errors[-(MOST_ERRORS - 1) :]]
    old, new = errors[:-MOST_TRACEBACKS], errors[-MOST_TRACEBACKS:]
    record.errors = [*(msgspec.structs.replace(each, traceback="") for each in old), *new]
