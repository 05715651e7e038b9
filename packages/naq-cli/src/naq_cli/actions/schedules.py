"""Showing and changing recurring schedules."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from naq_cli._calls import check_function, read_call
from naq_cli._errors import CommandError
from naq_cli._format import iso, relative
from naq_cli._output import Column
from naq_cli._session import Session
from naq_cli.commands.schedule import Times
from naq_cli.exit_codes import ExitCode
from naq_core import schedules
from naq_core.errors import InvalidScheduleError
from naq_core.filters import parse_instant
from naq_core.views import ScheduleView
from naq_core.wording import span


class Call(NamedTuple):
    """What is scheduled."""

    function: str
    arguments: Sequence[str]
    json_args: str | None
    queue: str | None
    max_retries: int | None


def _state(schedule: ScheduleView) -> str:
    if schedule.unreadable:
        return "unreadable"
    return "paused" if schedule.paused else "active"


def when(schedule: ScheduleView) -> str:
    """Return when it fires: the cron expression and its zone, or the interval."""
    if schedule.unreadable:
        return "never"
    if schedule.cron is not None:
        zone = "" if schedule.timezone == "UTC" else f" {schedule.timezone}"
        return f"{schedule.cron}{zone}"
    return f"every {span(schedule.interval or 0)}"


COLUMNS = (
    Column("Schedule", lambda schedule: schedule.schedule_id),
    Column("State", _state),
    Column("When", when, wrap=True),
    Column("Function", lambda schedule: schedule.function, wrap=True, rank=1),
    Column("Queue", lambda schedule: schedule.queue, rank=2, wrap=True),
    Column("Next", lambda schedule: schedule.next_at, right=True),
    Column("Last", lambda schedule: schedule.last_at, rank=3, right=True),
    Column("Runs", lambda schedule: schedule.runs, rank=3, right=True),
    Column("Missed", lambda schedule: schedule.missed, rank=5, right=True),
    Column("Last job", lambda schedule: schedule.last_job, rank=7, wrap=True),
)
HISTORY = (
    Column("At", lambda firing: firing.at),
    Column("Kind", lambda firing: firing.kind),
    Column("Job", lambda firing: firing.job_id),
    Column("State", lambda firing: getattr(firing, "state", None)),
    Column("Late", lambda firing: timedelta(seconds=firing.late) if firing.late else None, right=True),
)


async def list_all(session: Session) -> None:
    """List the schedules."""
    found = await schedules.list_schedules(session.connection)
    empty = "There are no schedules. Add one: naq schedule add module:function --every 5m"
    session.output.list(found, COLUMNS, key=lambda schedule: schedule.schedule_id, empty=empty)


async def show_one(session: Session, schedule_id: str, *, history: bool) -> None:
    """Show a schedule."""
    schedule = await schedules.get_schedule(session.connection, schedule_id)
    output = session.output
    facts: list[tuple[str, Any]] = [
        ("Schedule", schedule.schedule_id),
        ("State", _state(schedule)),
        ("Unreadable", schedule.unreadable),
        ("When", when(schedule)),
        ("Function", schedule.function),
        ("Arguments", schedule.arguments),
        ("Queue", schedule.queue),
        ("Next", schedule.next_at),
        ("Last", schedule.last_at),
        ("Last job", schedule.last_job),
        ("Runs", schedule.runs),
        ("Max runs", schedule.max_runs),
        ("Missed", schedule.missed or None),
        ("Start", schedule.start_at),
        ("End", schedule.end_at),
        ("Jitter", timedelta(seconds=schedule.jitter) if schedule.jitter else None),
        ("Overlap", schedule.overlap),
        ("Misfire", schedule.misfire),
        ("Grace", None if schedule.grace is None else timedelta(seconds=schedule.grace)),
        ("Declared", schedule.origin),
        ("Created", schedule.created_at),
    ]
    output.facts(facts, document=schedule)
    if not history or output.is_json or output.quiet:
        return
    firings = await schedules.schedule_history(session.connection, schedule_id)
    if firings:
        output.lines([""])
        output.list(firings, HISTORY, key=lambda firing: firing.job_id, empty="")


async def print_next(session: Session, schedule_id: str, count: int) -> None:
    """Print the next times, on a terminal in the schedule's zone too."""
    schedule = await schedules.get_schedule(session.connection, schedule_id)
    times = schedules.next_runs(schedule, count, session.connection.clock.utc())
    output = session.output
    if output.is_json:
        output.json(times)
    elif output.is_terminal:
        zone = ZoneInfo(schedule.timezone) if schedule.cron is not None else UTC
        output.lines(f"{_local(at, zone)}  {relative(at)}" for at in times)
        if schedule.paused:
            output.remark(f"It is paused: naq schedule resume {schedule_id}")
        elif not times:
            output.remark("It will not fire again.")
    else:
        output.lines(iso(at) for at in times)


def _local(at: datetime, zone: Any) -> str:
    return at.astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")


async def add(session: Session, call: Call, times: Times, schedule_id: str | None, *, paused: bool, replace: bool) -> None:
    """Store a schedule."""
    check_function(call.function)
    if (times.cron is None) == (times.every is None):
        raise CommandError('when? Give --cron "30 9 * * mon-fri" or --every 5m', ExitCode.USAGE)
    args, kwargs = read_call(call.arguments, call.json_args)
    spec = schedules.make_named_spec(
        call.function,
        args,
        kwargs,
        queue=call.queue or session.settings.default_queue,
        serializer=session.settings.job_serializer,
        options={} if call.max_retries is None else {"max_retries": call.max_retries},
        schedule_id=schedule_id,
        **_timing(times, session.connection.clock.utc()),
    )
    try:
        async with session.acting(
            "create-schedule",
            schedule_id or "",
            function=call.function,
            replace="yes" if replace else "",
            cron=times.cron,
            interval=times.every,
        ) as entry:
            view = await schedules.put_schedule(
                session.connection, spec, paused=True if paused else None, must_be_new=not replace
            )
            entry.reason = f"schedule {view.schedule_id}"
    except InvalidScheduleError as error:
        if not replace and "exists" in str(error):
            raise CommandError(f"{error}. Change it with --replace", ExitCode.REFUSED) from error
        raise
    output = session.output
    first = "it is paused" if view.paused else f"fires first {relative(view.next_at)}" if view.next_at else "never fires"
    text = f"{view.schedule_id}: {first}." if output.is_terminal else view.schedule_id
    output.done(text, names=[view.schedule_id], document=view)


def _timing(times: Times, now: datetime) -> dict[str, Any]:
    given: dict[str, Any] = {
        "cron": times.cron,
        "interval": times.every,
        "timezone": times.timezone,
        "max_runs": times.max_runs,
        "overlap": times.overlap,
        "misfire": times.misfire,
        "origin": "naq schedule add",
    }
    for name, text in (("start_at", times.start), ("end_at", times.end)):
        if text is not None:
            given[name] = parse_instant(text, now=now, setting=f"--{name.removesuffix('_at')}", ahead=True)
    if times.jitter is not None:
        given["jitter"] = times.jitter
    if times.grace is not None:
        given["grace"] = times.grace
    return given


async def pause(session: Session, schedule_id: str) -> None:
    """Pause a schedule."""
    async with session.acting("pause-schedule", schedule_id):
        await schedules.pause_schedule(session.connection, schedule_id)
    session.output.done(f"{schedule_id} is paused: naq schedule resume {schedule_id} resumes it.", names=[schedule_id])


async def resume(session: Session, schedule_id: str) -> None:
    """Resume a schedule."""
    async with session.acting("resume-schedule", schedule_id):
        view = await schedules.resume_schedule(session.connection, schedule_id)
    first = f" {relative(view.next_at)}" if view.next_at else " never more"
    session.output.done(f"{schedule_id} is active: it fires{first}.", names=[schedule_id])


async def trigger(session: Session, schedule_id: str) -> None:
    """Fire a schedule by hand."""
    async with session.acting("trigger-schedule", schedule_id) as entry:
        job_id = await schedules.trigger_schedule(session.connection, schedule_id)
        entry.reason = f"enqueued as {job_id}"
    session.output.done(job_id, names=[job_id], document={"job_id": job_id, "schedule_id": schedule_id})


async def remove(session: Session, schedule_id: str, *, yes: bool) -> None:
    """Delete a schedule after asking."""
    view = await schedules.get_schedule(session.connection, schedule_id)
    session.output.confirm(f"Schedule {schedule_id} ({when(view)}, {view.function}) would be deleted.", yes=yes)
    async with session.acting("delete-schedule", schedule_id):
        await schedules.delete_schedule(session.connection, schedule_id)
    session.output.done(f"{schedule_id} is deleted.", names=[schedule_id])
