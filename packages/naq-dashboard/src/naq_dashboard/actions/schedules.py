"""Schedules made and changed."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from litestar.exceptions import ValidationException

from naq_core import schedules
from naq_core.option_set import OptionSet
from naq_core.options import REPEATED_OPTIONS, SCHEDULE_OPTIONS, Option
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target, Text
from naq_dashboard.actions.enqueue import SERIALIZER, Order, check_call, given_options, offering
from naq_dashboard.languages import Sentence, said, said_of

__all__ = [
    "NewSchedule",
    "Times",
    "backfill_schedule",
    "create_schedule",
    "delete_schedule",
    "edit_schedule",
    "pause_schedule",
    "resume_schedule",
    "trigger_schedule",
]


@offering(SCHEDULE_OPTIONS.keys() - {"schedule_id"})
class Times(Order, kw_only=True, forbid_unknown_fields=True):
    """When a schedule fires; either `cron` or `interval`."""

    TABLE: ClassVar[Mapping[str, Option]] = SCHEDULE_OPTIONS


@offering(REPEATED_OPTIONS)
class ScheduledJob(Order, kw_only=True, forbid_unknown_fields=True):
    """The options of a schedule's jobs."""


class NewSchedule(Times, kw_only=True, forbid_unknown_fields=True):
    """A schedule of a function that workers know by its name."""

    function: Text
    """`module:function`."""
    args: list[Any] = msgspec.field(default_factory=list)
    kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    schedule_id: Any = None
    queue: Text = ""
    options: ScheduledJob = msgspec.field(default_factory=ScheduledJob)


async def create_schedule(connection: Connection, _: Target, order: NewSchedule) -> Sentence:
    """Make a schedule of a function named `module:function`; nothing is imported here, the worker will."""
    function = check_call(order.function, order.args, order.kwargs)
    now = connection.clock.utc()
    spec = schedules.make_named_spec(
        function,
        order.args,
        order.kwargs,
        queue=order.queue.strip() or connection.settings.default_queue,
        serializer=SERIALIZER,
        options=OptionSet(given_options(order.options, now)),
        origin="dashboard",
        **given_options(order, now),
    )
    if connection.signer:
        raise ValidationException("jobs are signed: create schedules in a program or with naq schedule")
    view = await schedules.put_schedule(connection, spec, must_be_new=True)
    return said("Schedule %(schedule)s is created.", schedule=view.schedule_id)


async def edit_schedule(connection: Connection, target: Target, order: Times) -> Sentence:
    """Change when a schedule fires; what it calls stays as it is."""
    await schedules.update_schedule(connection, target.name, **given_options(order, connection.clock.utc()))
    return said("Schedule %(schedule)s is changed.", schedule=target.name)


async def trigger_schedule(connection: Connection, target: Target, _: Details) -> Sentence:
    """Enqueue a schedule's job now."""
    job_id = await schedules.trigger_schedule(connection, target.name)
    return said("Enqueued now as %(job)s.", job=job_id)


async def backfill_schedule(connection: Connection, target: Target, details: Details) -> Sentence:
    """Enqueue the runs of a schedule for a range that has passed."""
    if not details.since.strip():
        raise ValidationException("since is missing: from when on?")
    now = connection.clock.utc()
    since = details.instant("since", now)
    until = details.instant("until", now) if details.until.strip() else now
    times = await schedules.backfill_times(connection, target.name, since, until)
    made = await schedules.backfill_schedule(connection, target.name, times)
    enqueued = said_of(len(made), "%(count)s run enqueued.", "%(count)s runs enqueued.")
    if len(made) == len(times):
        return enqueued
    known, every = f"{len(times) - len(made):,}", f"{len(times):,}"
    return said("%(made)s %(known)s of %(all)s times had a job already.", made=enqueued, known=known, all=every)


async def pause_schedule(connection: Connection, target: Target, _: Details) -> Sentence:
    """Pause a schedule."""
    view = await schedules.pause_schedule(connection, target.name)
    return said("Schedule %(schedule)s is paused.", schedule=view.schedule_id)


async def resume_schedule(connection: Connection, target: Target, _: Details) -> Sentence:
    """Resume a paused schedule."""
    view = await schedules.resume_schedule(connection, target.name)
    return said("Schedule %(schedule)s fires again.", schedule=view.schedule_id)


async def delete_schedule(connection: Connection, target: Target, _: Details) -> Sentence:
    """Delete a schedule."""
    await schedules.delete_schedule(connection, target.name)
    return said("Schedule %(schedule)s is deleted; its jobs are kept.", schedule=target.name)
