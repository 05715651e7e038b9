"""What is known of a job: all of it, its result, its log, its end."""

import asyncio
from typing import Annotated, Any

from cyclopts import Parameter

from naq_cli._errors import CommandError
from naq_cli._following import follow_job
from naq_cli._format import as_time, for_people, for_programs, printable
from naq_cli._jobs import attempts, duration, ending, progress_text, write_log, write_result
from naq_cli._options import Reading, seconds_of
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core.errors import JobTimeoutError
from naq_core.inspect import get_job, wait_for_job
from naq_core.record import JobState
from naq_core.tasks import Background
from naq_core.views import JobView
from naq_core.wording import counted


@connected("job show", Reading)
async def show(session: Session, job_id: str, /, *, traceback: bool = True) -> None:
    """Show everything known about a job.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        traceback: Include the tracebacks of its errors.
    """
    job = await get_job(session.connection, job_id)
    output = session.output
    output.facts(_facts(job), document=job)
    if output.is_json or output.quiet:
        return
    for error in job.errors:
        at = as_time(error.at)
        when = "" if at is None else f", {for_people(at) if output.is_terminal else for_programs(at)}"
        output.lines(["", f"Attempt {error.attempt}{when}: {printable(f'{error.type}: {error.message}')}"])
        if traceback and error.traceback:
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
        ("Waits for", "its queue's rate" if job.waits_for_rate else None),
        ("Expires", job.expires_at),
        ("Started", job.started_at),
        ("Ended", job.ended_at),
        ("Took", duration(job)),
        ("Worker", job.worker),
        ("Result", job.result),
        ("Result type", job.result_type),
        ("Workflow", job.workflow),
        ("Schedule", job.schedule),
        ("Tags", job.tags),
        ("Key", f"{job.key} (the job waits for it)" if job.waits_for_key else job.key),
        ("Headers", [f"{name}={value}" for name, value in job.headers.items()]),
        ("On success", job.callbacks.get("on_success")),
        ("On failure", job.callbacks.get("on_failure")),
        ("On dead", job.callbacks.get("on_dead")),
        ("Signal", job.signal),
        ("Parents", job.parents),
        ("Children", job.children),
        ("Log lines", len(job.logs) or None),
    ]


@connected("job result", Reading)
async def result(
    session: Session,
    job_id: str,
    /,
    *,
    wait: Annotated[bool, Parameter(negative="")] = False,
    timeout: str | None = None,
) -> int:
    """Print the result of a job; the exit code is 1 if it did not succeed, 124 if it has not ended.

    JSON results are printed whole; for pickled ones, the preview that the worker stored. Nothing is unpickled.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        wait: Wait until the job has ended.
        timeout: Wait at most this long (30, 30s, 5m); implies --wait.
    """
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


@connected("job wait", Reading)
async def wait(session: Session, *job_ids: str, timeout: str | None = None) -> int:
    """Wait until jobs have ended; the exit code is 0 if all succeeded, 1 if one did not, 124 after the time-out.

    Args:
        job_ids: Job ids, or id@queue.
        timeout: Wait at most this long in total (30, 30s, 5m).
    """
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


@connected("job logs", Reading)
async def logs(
    session: Session,
    job_id: str,
    /,
    *,
    follow: Annotated[bool, Parameter(alias="-f", negative="")] = False,
) -> None:
    """Print what a job has logged.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        follow: Continue until the job has ended.
    """
    if follow:
        await follow_job(session, job_id, logs_only=True)
        return
    job = await get_job(session.connection, job_id)
    for line in job.logs:
        write_log(session, line)
    if not job.logs and session.output.is_terminal:
        session.output.remark(f"Job {job_id} has not logged anything.")
