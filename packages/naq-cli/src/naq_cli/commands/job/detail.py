"""One job: all that is known of it, its result, its logs, its end."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from naq_cli._errors import CommandError
from naq_cli._filters import seconds_of
from naq_cli._format import as_time, for_people, for_programs, printable
from naq_cli._session import Session
from naq_cli.commands.job.listing import attempts, duration
from naq_cli.exit_codes import ExitCode
from naq_core.errors import JobTimeoutError
from naq_core.inspect import get_job, read_json_result, wait_for_job
from naq_core.record import JobState, LogLine, Progress
from naq_core.tasks import Background
from naq_core.views import JobView, encode_view
from naq_core.wording import counted


async def show_job(session: Session, job_id: str, *, tracebacks: bool) -> None:
    """Show a job."""
    job = await get_job(session.connection, job_id)
    output = session.output
    output.facts(_facts(job), document=job)
    if output.is_json or output.quiet:
        return
    for error in job.errors:
        at = as_time(error.at)
        when = "" if at is None else f", {for_people(at) if output.is_terminal else for_programs(at)}"
        output.lines(["", f"Attempt {error.attempt}{when}: {printable(f'{error.type}: {error.message}')}"])
        if tracebacks and error.traceback:
            output.lines(f"  {printable(line)}" for line in error.traceback.rstrip().splitlines())


def _facts(job: JobView) -> list[tuple[str, Any]]:
    return [
        ("Job", job.job_id),
        ("State", job.state),
        ("Reason", job.reason),
        ("Queue", job.queue),
        ("Priority", job.priority),
        ("Function", job.function),
        ("Arguments", job.arguments),
        ("Attempt", attempts(job)),
        ("Crashes", job.crashes or None),
        ("Progress", progress_text(job.progress)),
        ("Enqueued", job.enqueued_at),
        ("Due", job.due_at),
        ("Expires", job.expires_at),
        ("Started", job.started_at),
        ("Ended", job.ended_at),
        ("Took", duration(job)),
        ("Worker", job.worker),
        ("Result", job.result),
        ("Result type", job.result_type),
        ("Workflow", job.workflow),
        ("Schedule", job.schedule),
        ("Parents", job.parents),
        ("Children", job.children),
        ("Log lines", len(job.logs) or None),
    ]


def progress_text(progress: Progress | None) -> str:
    """Return how far a job says it is."""
    if progress is None:
        return ""
    if progress.total:
        share = f"{progress.done:g} of {progress.total:g} ({progress.done / progress.total:.0%})"
    else:
        share = f"{progress.done:g}"
    return f"{share} {progress.note}".strip()


async def print_result(session: Session, job_id: str, *, wait: bool, timeout: str | None) -> int:
    """Print a job's result, perhaps after waiting for it."""
    patience = seconds_of(timeout, "--timeout")
    if wait or patience is not None:
        job = await wait_for_job(session.connection, job_id, patience)
    else:
        job = await get_job(session.connection, job_id)
        if not job.state.is_final:
            raise CommandError(
                f"job {job_id} has not ended, it is {job.state}. Wait for it: naq job result {job_id} --wait",
                ExitCode.WAIT_TIMED_OUT,
            )
    return await write_result(session, job)


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


def ending(job: JobView) -> str:
    """Say in a sentence how a job ended."""
    if job.state is JobState.SUCCEEDED:
        return f"job {job.job_id} succeeded."
    if job.state is JobState.DEAD and job.errors:
        last = job.errors[-1]
        when = f"at attempt {attempts(job)}" if job.attempt else "before its first attempt"
        return printable(f"job {job.job_id} failed {when} with {last.type}: {last.message}.")
    return printable(f"job {job.job_id} is {job.state}{f': {job.reason}' if job.reason else ''}.")


async def wait_for_all(session: Session, job_ids: Sequence[str], timeout: str | None) -> int:
    """Wait for several jobs at once and report each as it ends."""
    if not job_ids:
        raise CommandError("which jobs? Give their ids", ExitCode.USAGE)
    patience = seconds_of(timeout, "--timeout")
    code = ExitCode.OK
    ended = 0

    async def one(job_id: str) -> JobView:
        return await wait_for_job(session.connection, job_id, patience)

    waits = Background()
    waiting = [waits.start(one(job_id), is_awaited=True) for job_id in dict.fromkeys(job_ids)]
    try:
        with session.output.progress("waiting", len(waiting)) as advance:
            for each in asyncio.as_completed(waiting):
                job = await each
                ended += 1
                advance(ended)
                _report_end(session, job)
                code = code if job.state is JobState.SUCCEEDED else ExitCode.FAILED
    except JobTimeoutError:
        left = len(waiting) - ended
        raise CommandError(
            f"{left} of {counted(len(waiting), 'job')} did not end within {timeout}; they continue.", ExitCode.WAIT_TIMED_OUT
        ) from None
    finally:
        await waits.close()
    return code


def _report_end(session: Session, job: JobView) -> None:
    output = session.output
    if output.is_json:
        output.json_line(job)
    elif output.quiet:
        output.lines([job.job_id])
    elif output.is_terminal:
        output.lines([ending(job)])
    else:
        output.lines([f"{job.job_id}\t{job.state.value}"])


def write_log(session: Session, line: LogLine) -> None:
    """Print one line that a job logged."""
    if session.output.is_json:
        session.output.json_line(line)
        return
    at = as_time(line.at)
    when = "" if at is None else for_programs(at)
    session.output.lines([f"{when} {line.level} {printable(line.message)}"])
