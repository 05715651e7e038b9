"""Retrying, cancelling and deleting jobs: by their ids, or all that a filter matches."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from naq_cli._errors import CommandError, explain
from naq_cli._filters import ids_or_filter
from naq_cli._format import iso, relative
from naq_cli._options import Destroying
from naq_cli._session import Session
from naq_cli.commands.job import Filters
from naq_cli.exit_codes import ExitCode
from naq_core.errors import JobError, JobStateError
from naq_core.filters import describe_filter, parse_instant
from naq_core.inspect import count_jobs
from naq_core.manage import CancelOutcome, bulk, cancel_job, delete_job, reschedule, retry_job, run_now
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


async def change_jobs(
    session: Session, action: Action, targets: Sequence[str], filters: Filters, options: Destroying, *, reason: str = ""
) -> int:
    """Do it to every job that is meant."""
    ids, wanted = ids_or_filter(targets, filters, session.connection.clock.utc())
    if wanted is not None:
        if reason:
            raise CommandError("--reason works with ids only, not with a filter", ExitCode.USAGE)
        await _change_matching(session, action, wanted, yes=options.yes)
        return ExitCode.OK
    if action == "delete":
        session.output.confirm(f"{counted(len(ids), 'job')} would be deleted permanently.", yes=options.yes)
    return await _change_each(session, action, ids, reason)


async def _change_matching(session: Session, action: Action, wanted: JobFilter, *, yes: bool) -> None:
    states = wanted.states or _MEANT[action]
    matching = await count_jobs(session.connection, msgspec.structs.replace(wanted, states=states))
    number = f"{'' if matching.is_exact else 'At least '}{counted(matching.count, 'job')}"
    if matching.count:
        session.output.confirm(f"{number} would be {_DONE[action]}.", yes=yes)
    with session.output.progress(_DONE[action], matching.count if matching.is_exact else None) as advance:
        async with session.acting(f"{action}-jobs", describe_filter(msgspec.structs.replace(wanted, states=states))) as entry:
            done = await bulk(session.connection, action, wanted, on_progress=advance)
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
            await retry_job(session.connection, job_id)
        elif action == "delete":
            await delete_job(session.connection, job_id)
        else:
            outcome = await cancel_job(session.connection, job_id, reason)
            if outcome is CancelOutcome.ALREADY_ENDED:
                raise CommandError(f"job {job_id} had already ended; nothing was changed", ExitCode.REFUSED)
            if outcome is CancelOutcome.WHILE_RUNNING:
                return "is cancelled; its worker was asked to stop it"
        return f"is {_DONE[action]}"


async def run_job_now(session: Session, job_id: str) -> None:
    """Make a delayed job ready."""
    try:
        async with session.acting("run-job", job_id):
            await run_now(session.connection, job_id)
    except JobError as error:
        raise _with_advice(error) from error
    session.output.done(f"{job_id} is ready.", names=[job_id])


async def reschedule_job(session: Session, job_id: str, delay: str | None, at: str | None) -> None:
    """Give a delayed job another time."""
    if (delay is None) == (at is None):
        raise CommandError("when? Give one of --in 5m and --at 2026-11-24T12:30:00Z", ExitCode.USAGE)
    text, option = (delay, "--in") if delay is not None else (at or "", "--at")
    when = parse_instant(text, now=session.connection.clock.utc(), setting=option, ahead=True)
    try:
        async with session.acting("reschedule-job", job_id, at=iso(when)):
            await reschedule(session.connection, job_id, when)
    except JobError as error:
        raise _with_advice(error) from error
    session.output.done(f"{job_id} is due {relative(when)}.", names=[job_id])


def _with_advice(error: JobError | CommandError) -> Exception:
    if isinstance(error, JobStateError):
        return CommandError(f"{error}. See: naq job show {error.job_id}", ExitCode.REFUSED)
    return error
