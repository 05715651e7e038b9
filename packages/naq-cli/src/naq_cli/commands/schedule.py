"""`naq schedule`: recurring schedules."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from naq_cli._options import COMMON, DESTROYING, READING, Common, Destroying, Reading

app = App(name="schedule", help="List, add, pause and trigger recurring schedules.")

TIMES = Group("Times", sort_key=10)


@Parameter(name="*", group=TIMES)
@dataclass(frozen=True, kw_only=True)
class Times:
    """When it fires, and what to do about overlapping and late runs."""

    cron: str | None = None
    """Five fields (minute, hour, day, month, weekday), six with seconds last, or a macro such as @daily."""
    every: str | None = None
    """An interval: 30s, 5m, 1h."""
    timezone: str = "UTC"
    """The time zone of --cron, as an IANA name."""
    start: str | None = None
    """First possible run: 2h (from now) or 2026-11-24T12:30:00Z."""
    end: str | None = None
    """Last possible run."""
    max_runs: int | None = None
    """The total number of runs."""
    jitter: str | None = None
    """Delay each run by a random time up to this."""
    overlap: Literal["allow", "skip", "cancel"] = "allow"
    """If the previous run has not ended: run anyway (allow), skip this run, or cancel the previous one."""
    misfire: Literal["skip", "once", "all"] = "once"
    """Runs missed by more than --grace: skip them, run once for all of them, or run them all."""
    grace: str | None = None
    """How late a run may start without counting as missed (default 60s)."""


NO_TIMES = Times()


@app.command(name="list")
def list_(*, options: Reading = READING) -> int:
    """List every recurring schedule."""
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule list", options, schedules.list_all)


@app.command
def show(schedule: str, /, *, history: bool = True, options: Reading = READING) -> int:
    """Show one schedule, its next times and its last runs.

    Args:
        schedule: Its id.
        history: Include the last runs.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule show", options, lambda session: schedules.show_one(session, schedule, history=history))


@app.command(name="next")
def next_(schedule: str, /, *, count: Annotated[int, Parameter(alias="-n")] = 5, options: Reading = READING) -> int:
    """Print when a schedule fires next.

    Args:
        schedule: Its id.
        count: The number of times to print.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule next", options, lambda session: schedules.print_next(session, schedule, count))


@app.command
def add(
    function: str,
    /,
    *arguments: str,
    id_: Annotated[str | None, Parameter(name="--id")] = None,
    queue: Annotated[str | None, Parameter(alias="-Q")] = None,
    json_args: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    max_retries: int | None = None,
    paused: Annotated[bool, Parameter(negative="")] = False,
    replace: Annotated[bool, Parameter(negative="")] = False,
    times: Times = NO_TIMES,
    options: Reading = READING,
) -> int:
    """Add a recurring schedule. A scheduler (naq scheduler) must be running for it to fire.

    Example: naq schedule add shop.reports:daily region=eu --cron "30 9 * * mon-fri" --timezone Europe/Berlin --id daily

    Args:
        function: The function, as module:function. It is not imported here.
        arguments: Its arguments, as for naq enqueue.
        id_: The schedule's id; derived from the function and the time by default.
        queue: The queue (NAQ_DEFAULT_QUEUE).
        json_args: All arguments as JSON, as for naq enqueue.
        max_retries: How many times a failed job is retried.
        paused: Add it paused.
        replace: Replace an existing schedule with this id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    call = schedules.Call(function, arguments, json_args, queue, max_retries)
    return online(
        "schedule add", options, lambda session: schedules.add(session, call, times, id_, paused=paused, replace=replace)
    )


@app.command
def pause(schedule: str, /, *, options: Common = COMMON) -> int:
    """Pause a schedule.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule pause", options, lambda session: schedules.pause(session, schedule))


@app.command
def resume(schedule: str, /, *, options: Common = COMMON) -> int:
    """Resume a paused schedule; runs missed meanwhile are not made up for.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule resume", options, lambda session: schedules.resume(session, schedule))


@app.command
def trigger(schedule: str, /, *, options: Reading = READING) -> int:
    """Enqueue a schedule's job now, in addition to its times, and print the job's id.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule trigger", options, lambda session: schedules.trigger(session, schedule))


@app.command
def remove(schedule: str, /, *, options: Destroying = DESTROYING) -> int:
    """Delete a schedule; its jobs are kept.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule remove", options, lambda session: schedules.remove(session, schedule, yes=options.yes))
