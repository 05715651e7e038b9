"""Changes of jobs: by their ids, or all that a filter matches."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from naq_cli._errors import CommandError, explain
from naq_cli._filters import NO_FILTERS, Filters, ids_or_filter
from naq_cli._format import iso, relative
from naq_cli._options import Destroying
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core import manage
from naq_core.errors import JobError, JobStateError
from naq_core.filters import describe_filter, parse_instant
from naq_core.inspect import count_jobs
from naq_core.record import FINAL, JobState
from naq_core.views import JobFilter
from naq_core.wording import counted, were

Action = Literal["retry", "cancel", "delete"]

_MEANT: dict[Action, frozenset[JobState]] = {
    "retry": frozenset({JobState.DEAD}),
    "cancel": frozenset(JobState) - FINAL,
    "delete": FINAL,
}
"""The states where a filter names none, as `bulk` has it."""
_DONE = {"retry": "requeued", "cancel": "cancelled", "delete": "deleted"}


@connected("job cancel", Destroying)
async def cancel(session: Session, *targets: str, reason: str = "", filters: Filters = NO_FILTERS) -> int:
    """Cancel jobs: queued, held or running ones.

    Args:
        targets: Ids (or id@queue), or a filter (state:queued queue:emails); a filter asks for confirmation or needs --yes.
        reason: The reason, stored in the job's record.
    """
    return await _change(session, "cancel", targets, filters, reason)


@connected("job retry", Destroying)
async def retry(session: Session, *targets: str, filters: Filters = NO_FILTERS) -> int:
    """Requeue dead jobs, or run a job that waits for its retry now.

    Args:
        targets: Ids (or id@queue), or a filter (state:dead queue:emails error:TimeoutError); a filter asks for confirmation or
            needs --yes. A filter without a state selects dead jobs.
    """
    return await _change(session, "retry", targets, filters)


@connected("job delete", Destroying)
async def delete(session: Session, *targets: str, filters: Filters = NO_FILTERS) -> int:
    """Delete jobs and their records; asks for confirmation or needs --yes.

    Args:
        targets: Ids (or id@queue), or a filter. A filter without a state selects jobs that have ended.
    """
    return await _change(session, "delete", targets, filters)


@connected("job run-now")
async def run_now(session: Session, job_id: str, /) -> None:
    """Run a delayed job now instead of at its time.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
    """
    try:
        async with session.acting("run-job", job_id):
            await manage.run_now(session.connection, job_id)
    except JobError as error:
        raise _with_advice(error) from error
    session.output.done(f"{job_id} is ready.", names=[job_id])


@connected("job reschedule")
async def reschedule(
    session: Session,
    job_id: str,
    /,
    *,
    in_: Annotated[str | None, Parameter(name="--in")] = None,
    at: str | None = None,
) -> None:
    """Change the time of a delayed job.

    Args:
        job_id: The job's id, or id@queue if several queues have a job with this id.
        in_: A duration from now: 30s, 5m, 2h.
        at: A time: 2026-11-24T12:30:00Z.
    """
    if (in_ is None) == (at is None):
        raise CommandError("when? Give one of --in 5m and --at 2026-11-24T12:30:00Z", ExitCode.USAGE)
    text, option = (in_, "--in") if in_ is not None else (at or "", "--at")
    when = parse_instant(text, now=session.connection.clock.utc(), setting=option, ahead=True)
    try:
        async with session.acting("reschedule-job", job_id, at=iso(when)):
            await manage.reschedule(session.connection, job_id, when)
    except JobError as error:
        raise _with_advice(error) from error
    session.output.done(f"{job_id} is due {relative(when)}.", names=[job_id])


async def _change(session: Session, action: Action, targets: Sequence[str], filters: Filters, reason: str = "") -> int:
    ids, wanted = ids_or_filter(targets, filters, session.connection.clock.utc())
    if wanted is not None:
        if reason:
            raise CommandError("--reason works with ids only, not with a filter", ExitCode.USAGE)
        await _change_matching(session, action, wanted)
        return ExitCode.OK
    if action == "delete":
        session.output.confirm(f"{counted(len(ids), 'job')} would be deleted permanently.")
    return await _change_each(session, action, ids, reason)


async def _change_matching(session: Session, action: Action, wanted: JobFilter) -> None:
    states = wanted.states or _MEANT[action]
    matching = await count_jobs(session.connection, msgspec.structs.replace(wanted, states=states))
    number = f"{'' if matching.is_exact else 'At least '}{counted(matching.count, 'job')}"
    if matching.count:
        session.output.confirm(f"{number} would be {_DONE[action]}.")
    with session.output.progress(_DONE[action], matching.count if matching.is_exact else None) as advance:
        async with session.acting(f"{action}-jobs", describe_filter(msgspec.structs.replace(wanted, states=states))) as entry:
            done = await manage.bulk(session.connection, action, wanted, on_progress=advance)
            entry.reason = f"{counted(done, 'job')} {_DONE[action]}"
    session.output.done(f"{counted(done, 'job')} {were(done)} {_DONE[action]}.", names=[str(done)])


async def _change_each(session: Session, action: Action, ids: Sequence[str], reason: str) -> int:
    """Try all, so that one that has ended meanwhile does not keep the others from it; the first problem's code counts."""
    code = ExitCode.OK
    for job_id in dict.fromkeys(ids):
        try:
            text = await _change_one(session, action, job_id, reason)
        except (JobError, CommandError) as error:
            if len(ids) == 1:
                raise _with_advice(error) from error
            message, found = explain(_with_advice(error), session.settings)
            session.output.remark(f"naq job {action}: {message}")
            code = code or found
        else:
            session.output.done(f"{job_id} {text}.", names=[job_id])
    return code


async def _change_one(session: Session, action: Action, job_id: str, reason: str) -> str:
    async with session.acting(f"{action}-job", job_id, reason=reason):
        if action == "retry":
            await manage.retry_job(session.connection, job_id)
        elif action == "delete":
            await manage.delete_job(session.connection, job_id)
        else:
            outcome = await manage.cancel_job(session.connection, job_id, reason)
            if outcome is manage.CancelOutcome.ALREADY_ENDED:
                raise CommandError(f"job {job_id} had already ended; nothing was changed", ExitCode.REFUSED)
            if outcome is manage.CancelOutcome.WHILE_RUNNING:
                return "is cancelled; its worker was asked to stop it"
        return f"is {_DONE[action]}"


def _with_advice(error: JobError | CommandError) -> Exception:
    if isinstance(error, JobStateError):
        return CommandError(f"{error}. See: naq job show {error.job_id}", ExitCode.REFUSED)
    return error
