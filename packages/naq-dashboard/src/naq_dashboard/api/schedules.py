"""Schedules as JSON."""

from typing import Any

import msgspec
from litestar import get, patch, post
from litestar.params import FromPath, RequestBody

from naq_core.inspect import leading_scheduler
from naq_core.schedules import get_schedule, list_schedules, schedule_history, scheduler_view
from naq_core.views import Firing, SchedulerView, ScheduleView
from naq_dashboard.access.roles import Action
from naq_dashboard.actions.details import Target
from naq_dashboard.actions.schedules import NewSchedule, Times
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["SCHEDULES"]


@get("/api/schedules", tags=["schedules"])
async def all_schedules(request: AnyRequest) -> list[ScheduleView]:
    """List the schedules by id."""
    state = state_of(request)
    found = await state.read(list_schedules)
    return [msgspec.structs.replace(each, arguments=state.mask(each.arguments)) for each in found]


@get("/api/schedules/{schedule_id:str}", tags=["schedules"])
async def one_schedule(request: AnyRequest, schedule_id: FromPath[str]) -> ScheduleView:
    """Return one schedule with its next time and how often it has run."""
    state = state_of(request)
    view = await state.read(get_schedule, schedule_id)
    return msgspec.structs.replace(view, arguments=state.mask(view.arguments))


@get("/api/schedules/{schedule_id:str}/history", tags=["schedules"])
async def one_history(request: AnyRequest, schedule_id: FromPath[str]) -> list[Firing]:
    """List a schedule's newest firings, and what became of their jobs."""
    return await state_of(request).read(schedule_history, schedule_id)


@get("/api/scheduler", tags=["schedules"])
async def scheduler(request: AnyRequest) -> SchedulerView:
    """Return which scheduler is the leader, when a schedule was last fired, and which schedules are late."""
    state = state_of(request)
    return scheduler_view(await state.read(leading_scheduler), await state.read(list_schedules))


@post("/api/schedules", tags=["schedules"], status_code=201, opt={"action": Action.EDIT_SCHEDULE})
async def create_schedule(request: AnyRequest, data: RequestBody[NewSchedule]) -> dict[str, str]:
    """Make a schedule."""
    target = Target(str(data.schedule_id or "").strip())
    return {"notice": (await state_of(request).operations.perform(viewer_of(request), "create-schedule", target, data)).notice}


@patch("/api/schedules/{schedule_id:str}", tags=["schedules"], opt={"action": Action.EDIT_SCHEDULE})
async def edit_schedule(request: AnyRequest, schedule_id: FromPath[str], data: RequestBody[Times]) -> dict[str, str]:
    """Change when a schedule fires."""
    target = Target(schedule_id)
    return {"notice": (await state_of(request).operations.perform(viewer_of(request), "edit-schedule", target, data)).notice}


SCHEDULES: list[Any] = [all_schedules, one_schedule, one_history, scheduler, create_schedule, edit_schedule]
