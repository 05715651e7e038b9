"""Recurring schedules, one of them, and the form that makes or changes one."""

from datetime import datetime
from typing import Any

from naq_core.errors import InvalidOptionError, InvalidScheduleError, NaqError
from naq_core.filters import parse_instant
from naq_core.inspect import leading_scheduler
from naq_core.options import OPTIONS, REPEATED_OPTIONS, SCHEDULE_OPTIONS
from naq_core.schedules import backfill_times, get_schedule, list_schedules, next_runs, schedule_history, scheduler_view
from naq_core.views import ScheduleView
from naq_dashboard.languages import _
from naq_dashboard.pages.option_fields import option_fields
from naq_dashboard.pages.page import Query
from naq_dashboard.queries.audit import done_to
from naq_dashboard.state import AppState
from naq_dashboard.times import zone_of_name

__all__ = ["edit_schedule", "new_schedule", "schedule", "schedules"]

NEXT = 5
JOB_FIELDS = [name for name in OPTIONS if name in REPEATED_OPTIONS]
TIMES = [name for name in SCHEDULE_OPTIONS if name != "schedule_id"]


async def schedules(state: AppState, query: Query) -> dict[str, Any]:
    """Show every schedule: when it fires, when it did last, and how that went."""
    every = await state.read(list_schedules)
    find = query.get("find")
    wanted = find.casefold()
    found = [each for each in every if any(wanted in name.casefold() for name in (each.schedule_id, each.function, each.queue))]
    return {
        "title": _("Schedules"),
        "schedules": found,
        "total": len(every),
        "find": find,
        "paused": sum(each.paused for each in found),
        "scheduler": scheduler_view(await state.read(leading_scheduler), every),
    }


async def schedule(state: AppState, query: Query) -> dict[str, Any]:
    """Show one schedule with its next times and its history."""
    schedule_id = query.get("schedule_id")
    view = await state.read(get_schedule, schedule_id)
    history = await state.read(schedule_history, schedule_id)
    missing, complaint = await _to_backfill(state, query)
    return {
        "title": schedule_id,
        "schedule": view,
        "next": next_runs(view, NEXT),
        "history": history,
        "backfill": missing,
        "complaint": complaint,
        "activity": await done_to(state.read, "schedule", schedule_id),
    }


async def _to_backfill(state: AppState, query: Query) -> tuple[list[datetime], str]:
    """Return the times within the range that is asked for, whose runs can be enqueued; or what is wrong with it."""
    if not query.get("since"):
        return [], ""
    zone = zone_of_name(query.zone)
    try:
        since, until = (
            parse_instant(query.get(name) or "0s", now=state.now(), setting=name, zone=zone) for name in ("since", "until")
        )
        times = await state.read(backfill_times, query.get("schedule_id"), since, until)
    except (InvalidOptionError, InvalidScheduleError) as error:
        return [], str(error)
    return times, "" if times else _("It has no time in this range.")


async def new_schedule(state: AppState, query: Query) -> dict[str, Any]:
    """Show the empty form."""
    del query
    blank = ScheduleView(schedule_id="", queue=state.naq_settings.default_queue, function="")
    return {
        "title": _("New schedule"),
        "schedule": blank,
        "is_new": True,
        "times": option_fields(SCHEDULE_OPTIONS, table=SCHEDULE_OPTIONS),
        "options": option_fields(JOB_FIELDS, "options."),
        "stream": "",
    }


async def edit_schedule(state: AppState, query: Query) -> dict[str, Any]:
    """Show the form with what is stored."""
    view = await state.read(get_schedule, query.get("schedule_id"))
    if view.unreadable:
        raise NaqError(f"schedule {view.schedule_id} cannot be changed: {view.unreadable}. Delete it or replace it")
    times = option_fields(TIMES, table=SCHEDULE_OPTIONS, values=view)
    return {
        "title": _("Edit %(schedule)s") % {"schedule": view.schedule_id},
        "schedule": view,
        "is_new": False,
        "times": times,
        "stream": "",
    }
