"""What the worker logs of an attempt: where it begins, how it ends, and its traceback.

Each record has the attributes `job_id`, `function`, `queue` and `attempt`; that of an attempt with another one to come has
`retry_in` (seconds) too.
"""

import logging
from types import TracebackType
from typing import TypeAlias

from naq_core.errors import JobFailedError
from naq_core.log_formats import JOB_FIELDS
from naq_core.record import JobRecord
from naq_worker.outcome import Failed

log = logging.getLogger("naq_worker.jobs")

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]


def started(job_id: str, function: str, queue: str, attempt: int) -> None:
    """Log that the function is called, at DEBUG."""
    if log.isEnabledFor(logging.DEBUG):
        _emit(logging.DEBUG, (job_id, function, queue, attempt), f"starts, attempt {attempt}")


def succeeded(job_id: str, function: str, queue: str, attempt: int, seconds: float) -> None:
    """Log that the function has returned, and that this is on record, at DEBUG."""
    if log.isEnabledFor(logging.DEBUG):
        _emit(logging.DEBUG, (job_id, function, queue, attempt), f"succeeded in {seconds:.3f} s")


def will_retry(record: JobRecord, failure: Failed, most: int | None, delay: float) -> None:
    """Log a failure after which the job runs again, at WARNING.

    Args:
        most: How many attempts there are; None where that is not what decides.
        delay: Seconds until the next one.
    """
    when = f"will be retried in {round(delay, 2):g} s" if delay else "will be retried at once"
    _failed(logging.WARNING, record, f"failed at attempt {_number(record, most)} and {when}", failure, retry_in=delay)


def failed_for_good(record: JobRecord, failure: Failed, most: int | None) -> None:
    """Log a failure that ends the job, at ERROR."""
    _failed(logging.ERROR, record, f"failed for good at attempt {_number(record, most)}", failure)


def cancelled(record: JobRecord, reason: str = "") -> None:
    """Log at INFO that the job, or its function, was cancelled."""
    _say(logging.INFO, record, f"was cancelled{f': {_line(reason)}' if reason else ''}")


def snoozed(record: JobRecord, delay: float, reason: str) -> None:
    """Log that the job has asked to be run later, at DEBUG."""
    _say(
        logging.DEBUG, record, f"was snoozed and will run again in {round(delay, 2):g} s{f': {_line(reason)}' if reason else ''}"
    )


def interrupted(record: JobRecord, *, lease_lost: bool) -> None:
    """Log that the job was interrupted and goes back to its queue: at WARNING where the worker had lost its lease, else INFO."""
    if lease_lost:
        _say(logging.WARNING, record, "was interrupted because its lease was lost; it returns to its queue")
    else:
        _say(logging.INFO, record, "was interrupted because the worker is stopping; it returns to its queue")


def handed_back(record: JobRecord, reason: str) -> None:
    """Log that the job goes back to its queue, as the worker could not run it, at WARNING."""
    _say(logging.WARNING, record, f"is returned to its queue: {_line(reason)}")


def lost(record: JobRecord, why: str) -> None:
    """Log that an attempt has ended without an outcome, with its worker or while the server took no records, at WARNING."""
    _say(logging.WARNING, record, f"lost attempt {record.attempt}: {_line(why)}")


def discarded(record: JobRecord, why: str, failure: Failed | None) -> None:
    """Log at WARNING that the job no longer belongs to this worker and the outcome of its attempt is dropped."""
    _say(logging.WARNING, record, f"{why}: the outcome of this attempt is discarded", failure)


def _number(record: JobRecord, most: int | None) -> str:
    return str(record.attempt) if most is None else f"{record.attempt} of {most}"


def _failed(level: int, record: JobRecord, what: str, failure: Failed, **fields: object) -> None:
    _say(level, record, f"{what}: {failure.type}: {_line(failure.message)}", failure, **fields)


def _say(level: int, record: JobRecord, what: str, failure: Failed | None = None, **fields: object) -> None:
    if log.isEnabledFor(level):
        _emit(level, (record.job_id, record.function, record.queue, record.attempt), what, failure, **fields)


def _emit(level: int, job: tuple[str, str, str, int], what: str, failure: Failed | None = None, **fields: object) -> None:
    job_id, function, *_ = job
    raised = None if failure is None or not failure.traceback else _exc_info(job_id, failure)
    record = log.makeRecord(log.name, level, __file__, 0, "job %s (%s) %s", (job_id, function, what), raised)
    # Not by `extra`: that refuses names which the program's own factory of records has set.
    record.__dict__.update(fields, **dict(zip(JOB_FIELDS, job, strict=True)))
    if failure is not None and raised is not None:
        record.exc_text = (
            failure.traceback.rstrip()
        )  # bounded, without control characters, and with the source lines that came along
    log.handle(record)


def _exc_info(job_id: str, failure: Failed) -> _ExcInfo:
    error = failure.error or JobFailedError(job_id, failure.type, failure.message, failure.traceback)
    return type(error), error, error.__traceback__


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
