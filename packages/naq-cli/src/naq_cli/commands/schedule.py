"""`naq schedule`: recurring schedules."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cyclopts import App, Parameter

from naq_cli._calls import function_of, read_call
from naq_cli._errors import CommandError
from naq_cli._format import iso, relative
from naq_cli._job_options import TypedOptions, flags_named, offering
from naq_cli._options import Destroying, Reading
from naq_cli._output import Column
from naq_cli._schedule_findings import describe_leader
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core import schedules
from naq_core.errors import InvalidScheduleError
from naq_core.filters import parse_instant
from naq_core.inspect import leading_scheduler
from naq_core.options import REPEATED_OPTIONS, SCHEDULE_OPTIONS
from naq_core.views import SchedulerView, ScheduleView
from naq_core.wording import counted, exact_span, span

app = App(name="schedule", help="List, add, pause, trigger and backfill recurring schedules.")


@offering(SCHEDULE_OPTIONS)
class ScheduleTimes(TypedOptions):
    """When it fires, and what to do about overlapping and late runs."""

    TABLE = SCHEDULE_OPTIONS


NO_TIMES = ScheduleTimes()


@offering({"queue", *REPEATED_OPTIONS})
class ScheduledJobOptions(TypedOptions):
    """How its jobs are run."""


NO_OPTIONS = ScheduledJobOptions()


def _state(schedule: ScheduleView) -> str:
    if schedule.unreadable:
        return "unreadable"
    return "paused" if schedule.paused else "late" if schedule.late else "active"


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
    Column("Late", lambda schedule: timedelta(seconds=schedule.late) if schedule.late else None, rank=4, right=True),
)
HISTORY = (
    Column("At", lambda firing: firing.at),
    Column("Kind", lambda firing: f"{firing.kind} \N{MULTIPLICATION SIGN} {firing.count}" if firing.count > 1 else firing.kind),
    Column("Job", lambda firing: firing.job_id),
    Column("State", lambda firing: getattr(firing, "state", None)),
    Column("Late", lambda firing: timedelta(seconds=firing.late) if firing.late else None, right=True),
)


@app.command(name="list")
@connected("schedule list", Reading)
async def list_(session: Session) -> None:
    """List every recurring schedule, and say which scheduler is the leader.

    A schedule is late if it was not fired within five seconds of its time.
    """
    found = await schedules.list_schedules(session.connection)
    empty = "There are no schedules. Add one: naq schedule add module:function --every 5m"
    session.output.list(found, COLUMNS, key=lambda schedule: schedule.schedule_id, empty=empty)
    scheduler = schedules.scheduler_view(await leading_scheduler(session.connection), found)
    if found and not session.output.is_json:
        session.output.remark(_leadership(scheduler, session.connection.clock.utc()))


def _leadership(scheduler: SchedulerView, now: datetime) -> str:
    if scheduler.owner:
        return f"{describe_leader(scheduler, now)}."
    return "No scheduler is the leader: schedules do not fire. Start one: naq scheduler"


@app.command
@connected("schedule show", Reading)
async def show(session: Session, schedule: str, /, *, history: bool = True) -> None:
    """Show one schedule, its next times and its last runs.

    Args:
        schedule: Its id.
        history: Include the last runs.
    """
    view = await schedules.get_schedule(session.connection, schedule)
    output = session.output
    facts: list[tuple[str, Any]] = [
        ("Schedule", view.schedule_id),
        ("State", _state(view)),
        ("Unreadable", view.unreadable),
        ("When", when(view)),
        ("Function", view.function),
        ("Arguments", view.arguments),
        ("Queue", view.queue),
        ("Next", view.next_at),
        ("Late", timedelta(seconds=view.late) if view.late else None),
        ("Last", view.last_at),
        ("Fired", view.fired_at),
        ("Last job", view.last_job),
        ("Runs", view.runs),
        ("Max runs", view.max_runs),
        ("Missed", view.missed or None),
        ("Start", view.start_at),
        ("End", view.end_at),
        ("Jitter", timedelta(seconds=view.jitter) if view.jitter else None),
        ("Overlap", view.overlap),
        ("Misfire", view.misfire),
        ("Grace", None if view.grace is None else timedelta(seconds=view.grace)),
        ("Declared", view.origin),
        ("Created", view.created_at),
    ]
    output.facts(facts, document=view)
    if not history or output.is_json or output.quiet:
        return
    firings = await schedules.schedule_history(session.connection, schedule)
    if firings:
        output.lines([""])
        output.list(firings, HISTORY, key=lambda firing: firing.job_id, empty="")


@app.command(name="next")
@connected("schedule next", Reading)
async def next_(session: Session, schedule: str, /, *, count: Annotated[int, Parameter(alias="-n")] = 5) -> None:
    """Print when a schedule fires next.

    Args:
        schedule: Its id.
        count: The number of times to print.
    """
    view = await schedules.get_schedule(session.connection, schedule)
    times = schedules.next_runs(view, count, session.connection.clock.utc())
    output = session.output
    if output.is_json:
        output.json(times)
    elif output.is_terminal:
        zone = ZoneInfo(view.timezone) if view.cron is not None else UTC
        output.lines(f"{_local(at, zone)}  {relative(at)}" for at in times)
        if view.paused:
            output.remark(f"It is paused: naq schedule resume {schedule}")
        elif not times:
            output.remark("It will not fire again.")
    else:
        output.lines(iso(at) for at in times)


def _local(at: datetime, zone: Any) -> str:
    return at.astimezone(zone).strftime("%a %Y-%m-%d %H:%M:%S %Z")


@app.command
@connected("schedule add", Reading)
async def add(
    session: Session,
    function: str,
    /,
    *arguments: str,
    json_args: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    paused: Annotated[bool, Parameter(negative="")] = False,
    replace: Annotated[bool, Parameter(negative="")] = False,
    times: ScheduleTimes = NO_TIMES,
    job: ScheduledJobOptions = NO_OPTIONS,
) -> None:
    """Add a recurring schedule. A scheduler (naq scheduler) must be running for it to fire.

    Example: naq schedule add shop.reports:daily region=eu --cron "30 9 * * mon-fri" --timezone Europe/Berlin --id daily

    Args:
        function: The function, as module:function. It is not imported here.
        arguments: Its arguments, as for naq enqueue.
        json_args: All arguments as JSON, as for naq enqueue.
        paused: Add it paused.
        replace: Replace an existing schedule with this id.
    """
    function = function_of(function)
    now = session.connection.clock.utc()
    given = times.given(now)
    if ("cron" in given) == ("interval" in given):
        raise CommandError('when? Give --cron "30 9 * * mon-fri" or --every 5m', ExitCode.USAGE)
    args, kwargs = read_call(arguments, json_args)
    options = job.read(now)
    with flags_named():
        spec = schedules.make_named_spec(
            function,
            args,
            kwargs,
            queue=options.queue or session.settings.default_queue,
            serializer=session.settings.job_serializer,
            options=options,
            origin="naq schedule add",
            **given,
        )
    try:
        async with session.acting(
            "create-schedule",
            given.get("schedule_id", ""),
            function=function,
            replace="yes" if replace else "",
            cron=spec.cron,
            interval=spec.interval and exact_span(spec.interval),
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


@app.command
@connected("schedule pause")
async def pause(session: Session, schedule: str, /) -> None:
    """Pause a schedule.

    Args:
        schedule: Its id.
    """
    async with session.acting("pause-schedule", schedule):
        await schedules.pause_schedule(session.connection, schedule)
    session.output.done(f"{schedule} is paused: naq schedule resume {schedule} resumes it.", names=[schedule])


@app.command
@connected("schedule resume")
async def resume(session: Session, schedule: str, /) -> None:
    """Resume a paused schedule; runs missed meanwhile are not made up for.

    Args:
        schedule: Its id.
    """
    async with session.acting("resume-schedule", schedule):
        view = await schedules.resume_schedule(session.connection, schedule)
    first = f" {relative(view.next_at)}" if view.next_at else " never more"
    session.output.done(f"{schedule} is active: it fires{first}.", names=[schedule])


@app.command
@connected("schedule trigger", Reading)
async def trigger(session: Session, schedule: str, /) -> None:
    """Enqueue a schedule's job now, in addition to its times, and print the job's id.

    Args:
        schedule: Its id.
    """
    async with session.acting("trigger-schedule", schedule) as entry:
        job_id = await schedules.trigger_schedule(session.connection, schedule)
        entry.reason = f"enqueued as {job_id}"
    session.output.done(job_id, names=[job_id], document={"job_id": job_id, "schedule_id": schedule})


@app.command
@connected("schedule backfill", Destroying)
async def backfill(session: Session, schedule: str, /, *, since: str, until: str | None = None) -> None:
    """Enqueue a schedule's runs of times that have passed and have no job, at most 1,000.

    Pause and overlap policy are not regarded: all are enqueued at once.

    Args:
        schedule: Its id.
        since: From when on: a duration before now (7d), a time of day in UTC (08:00), or a time (2026-11-24T12:30:00Z).
        until: The end of the range, written alike. Default: now.
    """
    connection, now = session.connection, session.connection.clock.utc()
    begin = parse_instant(since, now=now, setting="since")
    end = now if until is None else parse_instant(until, now=now, setting="until")
    times = await schedules.backfill_times(connection, schedule, begin, end)
    if not times:
        session.output.done(f"{schedule} has no time between {_second(begin)} and {_second(end)} UTC.", names=[])
        return
    session.output.confirm(_question(schedule, times))
    async with session.acting("backfill-schedule", schedule, since=iso(begin), until=iso(end)) as entry:
        made = await schedules.backfill_schedule(connection, schedule, times)
        entry.reason = f"{counted(len(made), 'run')} enqueued"
    known = len(times) - len(made)
    had = f" {known:,} of {counted(len(times), 'time')} had a job already." if known else ""
    session.output.done(f"{entry.reason}.{had}", names=made)


def _question(schedule: str, times: Sequence[datetime]) -> str:
    if len(times) == 1:
        return f"The run of {schedule} of {_second(times[0])} UTC would be enqueued if it has no job yet."
    number, first, last = f"{len(times):,} runs", _second(times[0]), _second(times[-1])
    return f"{number} of {schedule}, from {first} to {last} UTC, would be enqueued at once, except those that have a job already."


def _second(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


@app.command
@connected("schedule remove", Destroying)
async def remove(session: Session, schedule: str, /) -> None:
    """Delete a schedule; its jobs are kept.

    Args:
        schedule: Its id.
    """
    view = await schedules.get_schedule(session.connection, schedule)
    session.output.confirm(f"Schedule {schedule} ({when(view)}, {view.function}) would be deleted.")
    async with session.acting("delete-schedule", schedule):
        await schedules.delete_schedule(session.connection, schedule)
    session.output.done(f"{schedule} is deleted.", names=[schedule])
