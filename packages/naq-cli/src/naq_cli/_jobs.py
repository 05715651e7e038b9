"""How jobs are shown, by the commands for jobs and by others."""

from datetime import timedelta
from typing import Any

import msgspec

from naq_cli._errors import CommandError
from naq_cli._format import as_time, for_programs, printable
from naq_cli._output import Column
from naq_cli._session import Session
from naq_cli.exit_codes import ExitCode
from naq_core.inspect import read_json_result
from naq_core.record import JobState, LogLine, Progress
from naq_core.views import JobView, encode_view


def duration(job: JobView) -> timedelta | None:
    """Return how long the last attempt took."""
    if job.started_at is None or job.ended_at is None:
        return None
    return max(job.ended_at - job.started_at, timedelta(0))


def attempts(job: JobView) -> str:
    """Return the attempt and how many there may be."""
    return f"{job.attempt}/{job.max_attempts}" if job.max_attempts else str(job.attempt)


def last_error(job: JobView) -> str:
    """Return the last error, where the job has not succeeded after it."""
    if not job.errors or job.state == "succeeded":
        return job.reason
    return f"{job.errors[-1].type}: {job.errors[-1].message}"


COLUMNS = (
    Column("Job", lambda job: job.job_id),
    Column("State", lambda job: job.state),
    Column("Queue", lambda job: job.queue, wrap=True, rank=3),
    Column("Function", lambda job: job.function, wrap=True),
    Column("Attempt", attempts, right=True, rank=5),
    Column("Enqueued", lambda job: job.enqueued_at, right=True, rank=1),
    Column("Due", lambda job: job.due_at, right=True, rank=6),
    Column("Took", duration, right=True, rank=4),
    Column("Worker", lambda job: job.worker, wrap=True, rank=8),
    Column("Arguments", lambda job: job.arguments, wrap=True, rank=7),
    Column("Error", last_error, wrap=True, rank=2),
)


def progress_text(progress: Progress | None) -> str:
    """Return how far a job says it is."""
    if progress is None:
        return ""
    if progress.total:
        share = f"{progress.done:g} of {progress.total:g} ({progress.done / progress.total:.0%})"
    else:
        share = f"{progress.done:g}"
    return f"{share} {progress.note}".strip()


def ending(job: JobView) -> str:
    """Say in a sentence how a job ended."""
    if job.state is JobState.SUCCEEDED:
        return f"job {job.job_id} succeeded."
    if job.state is JobState.DEAD and job.errors:
        last = job.errors[-1]
        when = f"at attempt {attempts(job)}" if job.attempt else "before its first attempt"
        return printable(f"job {job.job_id} failed {when} with {last.type}: {last.message}.")
    return printable(f"job {job.job_id} is {job.state}{f': {job.reason}' if job.reason else ''}.")


def write_log(session: Session, line: LogLine) -> None:
    """Print one line that a job logged."""
    if session.output.is_json:
        session.output.json_line(line)
        return
    at = as_time(line.at)
    when = "" if at is None else for_programs(at)
    session.output.lines([f"{when} {line.level} {printable(line.message)}"])


async def write_result(session: Session, job: JobView) -> int:
    """Write the result of a job that has ended, or say how else it has ended."""
    whole = await read_json_result(session.connection, f"{job.job_id}@{job.queue}")
    if session.output.is_json:
        value = msgspec.Raw(whole) if whole is not None else job.result
        document: dict[str, Any] = {"job_id": job.job_id, "state": job.state, "result": value, "result_type": job.result_type}
        if job.errors and job.state is not JobState.SUCCEEDED:
            document["error"] = job.errors[-1]
        session.output.json(encode_view(document))
    elif job.state is JobState.SUCCEEDED:
        text = _preview(job) if whole is None else whole.decode()
        session.output.lines([printable(text) if session.output.is_terminal else text])
    if job.state is not JobState.SUCCEEDED and not session.output.is_json:
        raise CommandError(f"{ending(job)} See: naq job show {job.job_id}", ExitCode.FAILED)
    return ExitCode.OK if job.state is JobState.SUCCEEDED else ExitCode.FAILED


def _preview(job: JobView) -> str:
    if job.result:
        return printable(job.result)
    return f"({job.result_type} of {job.result_size:,} bytes; Job.fetch_result({job.job_id!r}) reads it in Python)"
