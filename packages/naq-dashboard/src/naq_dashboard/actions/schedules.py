"""Schedules made and changed."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar.exceptions import ValidationException

from naq_core import schedules
from naq_core.option_set import OptionSet
from naq_core.options import REPEATED_OPTIONS
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target, Text
from naq_dashboard.actions.enqueue import SERIALIZER, check_call, given_options, offering

__all__ = [
    "NewSchedule",
    "Times",
    "create_schedule",
    "delete_schedule",
    "edit_schedule",
    "pause_schedule",
    "resume_schedule",
    "trigger_schedule",
]


class Times(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """When a schedule fires; either `cron` or `interval`."""

    cron: Text = ""
    interval: Text = ""
    """Such as `30s`."""
    timezone: Text = ""
    start_at: Text = ""
    end_at: Text = ""
    max_runs: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    jitter: Text = ""
    overlap: Text = ""
    """allow, skip or cancel."""
    misfire: Text = ""
    """skip, once or all."""
    grace: Text = ""


@offering(REPEATED_OPTIONS)
class ScheduledJob(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The options of a schedule's jobs."""


class NewSchedule(Times, kw_only=True, forbid_unknown_fields=True):
    """A schedule of a function that workers know by its name."""

    function: Text
    """`module:function`."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    schedule_id: Text = ""
    queue: Text = ""
    options: ScheduledJob = msgspec.field(default_factory=ScheduledJob)


async def create_schedule(connection: Connection, target: Target, order: NewSchedule) -> str:
    """Make a schedule of a function named `module:function`; nothing is imported here, the worker will."""
    function = check_call(order.function, order.args, order.kwargs)
    spec = schedules.make_named_spec(
        function,
        order.args,
        order.kwargs,
        queue=order.queue.strip() or connection.settings.default_queue,
        serializer=SERIALIZER,
        options=OptionSet(given_options(order.options, connection.clock.utc())),
        schedule_id=target.name or None,
        origin="dashboard",
        **_timing(order),
    )
    if connection.signer:
        raise ValidationException("jobs are signed: create schedules in a program or with naq schedule")
    view = await schedules.put_schedule(connection, spec, must_be_new=True)
    return f"Schedule {view.schedule_id} is created."


async def edit_schedule(connection: Connection, target: Target, order: Times) -> str:
    """Change when a schedule fires; what it calls stays as it is."""
    await schedules.update_schedule(connection, target.name, **_timing(order))
    return f"Schedule {target.name} is changed."


async def trigger_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Enqueue a schedule's job now."""
    job_id = await schedules.trigger_schedule(connection, target.name)
    return f"Enqueued now as {job_id}."


async def pause_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Pause a schedule."""
    view = await schedules.pause_schedule(connection, target.name)
    return f"Schedule {view.schedule_id} is paused."


async def resume_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Resume a paused schedule."""
    view = await schedules.resume_schedule(connection, target.name)
    return f"Schedule {view.schedule_id} fires again."


async def delete_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Delete a schedule."""
    await schedules.delete_schedule(connection, target.name)
    return f"Schedule {target.name} is deleted; its jobs are kept."


def _timing(times: Times) -> dict[str, Any]:
    """Return the keywords of naq_core.schedules for what was given; an empty field means the default."""
    given = {name: getattr(times, name) for name in Times.__struct_fields__}
    given = {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
    if bool(given["cron"]) == bool(given["interval"]):
        raise ValidationException("give either cron or an interval")
    for name in ("start_at", "end_at"):
        if given[name]:
            try:
                at = datetime.fromisoformat(given[name])
            except ValueError as error:
                raise ValidationException(f"{name}: {error}") from error
            given[name] = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return {"cron": None, "interval": None} | {name: value for name, value in given.items() if value not in {"", None}}
