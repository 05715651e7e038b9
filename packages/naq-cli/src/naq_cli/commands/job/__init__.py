"""`naq job`: jobs, one or many."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Group, Parameter

from naq_cli._options import COMMON, DESTROYING, READING, Common, Destroying, Reading

app = App(name="job", help="List, show, retry, cancel and delete jobs.")

FILTERS = Group("Filters", sort_key=10)


@Parameter(name="*", group=FILTERS)
@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which jobs to select; each may also be written as a word, such as state:dead."""

    state: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """queued, held, running, retrying, succeeded, dead, cancelled or expired. May be repeated."""
    queue: str | None = None
    """The queue's name."""
    function: str | None = None
    """The function's name, or a part of it."""
    worker: str | None = None
    """The worker that last ran it."""
    workflow: str | None = None
    """The workflow's id."""
    schedule: str | None = None
    """The schedule that fired it."""
    error: str | None = None
    """The type of the last error, such as TimeoutError."""
    since: str | None = None
    """Enqueued at or after: 2h (ago) or 2026-11-24T12:30."""
    until: str | None = None
    """Enqueued before."""


NO_FILTERS = Filters()


@app.command(name="list")
def list_(
    *words: str,
    limit: Annotated[int, Parameter(alias="-n")] = 50,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    cursor: str | None = None,
    max_scan: int = 20_000,
    filters: Filters = NO_FILTERS,
    options: Reading = READING,
) -> int:
    """List jobs, most recently changed first.

    Args:
        words: Filters such as state:dead queue:emails since:2h; other words are searched for in ids, arguments and errors.
        limit: Jobs per page.
        all_: List all jobs and ignore --limit.
        cursor: Continue where the previous page ended.
        max_scan: Search at most this many entries per page; a note says if there may be more.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.listing import list_page

    return online(
        "job list",
        options,
        lambda session: list_page(session, words, filters, limit=limit, everything=all_, cursor=cursor, max_scan=max_scan),
    )


@app.command
def show(job_id: str, /, *, traceback: bool = True, options: Reading = READING) -> int:
    """Show everything known about a job.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        traceback: Include the tracebacks of its errors.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.detail import show_job

    return online("job show", options, lambda session: show_job(session, job_id, tracebacks=traceback))


@app.command
def result(
    job_id: str,
    /,
    *,
    wait: Annotated[bool, Parameter(negative="")] = False,
    timeout: str | None = None,
    options: Reading = READING,
) -> int:
    """Print the result of a job; the exit code is 1 if it did not succeed, 124 if it has not ended.

    JSON results are printed whole; for pickled ones, the preview that the worker stored. Nothing is unpickled.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        wait: Wait until the job has ended.
        timeout: Wait at most this long (30, 30s, 5m); implies --wait.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.detail import print_result

    return online("job result", options, lambda session: print_result(session, job_id, wait=wait, timeout=timeout))


@app.command
def wait(*job_ids: str, timeout: str | None = None, options: Reading = READING) -> int:
    """Wait until jobs have ended; the exit code is 0 if all succeeded, 1 if one did not, 124 after the time-out.

    Args:
        job_ids: Job ids, or id@queue.
        timeout: Wait at most this long in total (30, 30s, 5m).
    """
    from naq_cli._session import online
    from naq_cli.commands.job.detail import wait_for_all

    return online("job wait", options, lambda session: wait_for_all(session, job_ids, timeout))


@app.command
def logs(
    job_id: str,
    /,
    *,
    follow: Annotated[bool, Parameter(alias="-f", negative="")] = False,
    options: Reading = READING,
) -> int:
    """Print what a job has logged.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        follow: Continue until the job has ended.
    """
    from naq_cli._following import print_logs
    from naq_cli._session import online

    return online("job logs", options, lambda session: print_logs(session, job_id, follow=follow))


@app.command
def cancel(
    *targets: str,
    reason: str = "",
    filters: Filters = NO_FILTERS,
    options: Destroying = DESTROYING,
) -> int:
    """Cancel jobs: waiting, delayed or running ones.

    Args:
        targets: Ids (or id@queue), or a filter (state:queued queue:emails); a filter asks for confirmation or needs --yes.
        reason: The reason, stored in the job's record.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.changes import change_jobs

    return online("job cancel", options, lambda session: change_jobs(session, "cancel", targets, filters, options, reason=reason))


@app.command
def retry(*targets: str, filters: Filters = NO_FILTERS, options: Destroying = DESTROYING) -> int:
    """Requeue dead jobs, or run a job that waits for its retry now.

    Args:
        targets: Ids (or id@queue), or a filter (state:dead queue:emails error:TimeoutError); a filter asks for confirmation or
            needs --yes. A filter without a state selects dead jobs.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.changes import change_jobs

    return online("job retry", options, lambda session: change_jobs(session, "retry", targets, filters, options))


@app.command
def delete(*targets: str, filters: Filters = NO_FILTERS, options: Destroying = DESTROYING) -> int:
    """Delete jobs and their records; asks for confirmation or needs --yes.

    Args:
        targets: Ids (or id@queue), or a filter. A filter without a state selects jobs that have ended.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.changes import change_jobs

    return online("job delete", options, lambda session: change_jobs(session, "delete", targets, filters, options))


@app.command
def run_now(job_id: str, /, *, options: Common = COMMON) -> int:
    """Run a delayed job now instead of at its time.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.changes import run_job_now

    return online("job run-now", options, lambda session: run_job_now(session, job_id))


@app.command
def reschedule(
    job_id: str,
    /,
    *,
    in_: Annotated[str | None, Parameter(name="--in")] = None,
    at: str | None = None,
    options: Common = COMMON,
) -> int:
    """Change the time of a delayed job.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        in_: A duration from now: 30s, 5m, 2h.
        at: A time: 2026-11-24T12:30:00Z.
    """
    from naq_cli._session import online
    from naq_cli.commands.job.changes import reschedule_job

    return online("job reschedule", options, lambda session: reschedule_job(session, job_id, in_, at))
