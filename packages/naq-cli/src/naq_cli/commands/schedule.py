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
    """When it fires, and what happens when firings overlap or come late."""

    cron: str | None = None
    """Five fields (minute, hour, day, month, weekday), a sixth for seconds at the end, or @daily and so on."""
    every: str | None = None
    """An interval: 30s, 5m, 1h."""
    timezone: str = "UTC"
    """IANA name, for cron."""
    start: str | None = None
    """Not before: 2h (from now) or 2026-11-24T12:30:00Z."""
    end: str | None = None
    """Not after."""
    max_runs: int | None = None
    """How often it fires at most."""
    jitter: str | None = None
    """Up to so much later, differently each time."""
    overlap: Literal["allow", "skip", "cancel"] = "allow"
    """While the job of the firing before has not ended: allow another, skip this firing, or cancel the one before."""
    misfire: Literal["skip", "once", "all"] = "once"
    """Firings that come later than --grace: skip them, run once for all of them, or run all."""
    grace: str | None = None
    """How late a firing may be and still run like any other (default 60s)."""


NO_TIMES = Times()


@app.command(name="list")
def list_(*, options: Reading = READING) -> int:
    """List every recurring schedule."""
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule list", options, schedules.list_all)


@app.command
def show(schedule: str, /, *, history: bool = True, options: Reading = READING) -> int:
    """Show one schedule, its next times and its last firings.

    Args:
        schedule: Its id.
        history: The last firings too.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule show", options, lambda session: schedules.show_one(session, schedule, history=history))


@app.command(name="next")
def next_(schedule: str, /, *, count: Annotated[int, Parameter(alias="-n")] = 5, options: Reading = READING) -> int:
    """Print when a schedule fires next.

    Args:
        schedule: Its id.
        count: How many times.
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
    json_args: str | None = None,
    max_retries: int | None = None,
    paused: Annotated[bool, Parameter(negative="")] = False,
    replace: Annotated[bool, Parameter(negative="")] = False,
    times: Times = NO_TIMES,
    options: Reading = READING,
) -> int:
    """Add a schedule that enqueues a function's call again and again; a scheduler (naq scheduler) has to run for it to fire.

    Example: naq schedule add shop.reports:daily region=eu --cron "30 9 * * mon-fri" --timezone Europe/Berlin --id daily

    Args:
        function: As module:function. It is not imported here.
        arguments: Its arguments, as of naq enqueue.
        id_: Its id; by default one is made of what is scheduled and when.
        queue: The queue (NAQ_DEFAULT_QUEUE).
        json_args: All arguments as JSON, as of naq enqueue.
        max_retries: How often a failed attempt is repeated.
        paused: Do not fire until it is resumed.
        replace: Change the schedule of this id where it exists; else that is refused.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    call = schedules.Call(function, arguments, json_args, queue, max_retries)
    return online(
        "schedule add", options, lambda session: schedules.add(session, call, times, id_, paused=paused, replace=replace)
    )


@app.command
def pause(schedule: str, /, *, options: Common = COMMON) -> int:
    """Let a schedule not fire until it is resumed.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule pause", options, lambda session: schedules.pause(session, schedule))


@app.command
def resume(schedule: str, /, *, options: Common = COMMON) -> int:
    """Let a paused schedule fire again, from now on.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule resume", options, lambda session: schedules.resume(session, schedule))


@app.command
def trigger(schedule: str, /, *, options: Reading = READING) -> int:
    """Enqueue a schedule's job now, besides its times, and print the job's id.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule trigger", options, lambda session: schedules.trigger(session, schedule))


@app.command
def remove(schedule: str, /, *, options: Destroying = DESTROYING) -> int:
    """Delete a schedule; its jobs stay.

    Args:
        schedule: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import schedules

    return online("schedule remove", options, lambda session: schedules.remove(session, schedule, yes=options.yes))
