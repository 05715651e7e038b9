"""Workflows, and one of them as a drawing."""

from typing import Any

from naq_core.inspect import get_workflow, list_workflows
from naq_core.record import JobState
from naq_dashboard.drawing.dag import Drawing, draw
from naq_dashboard.drawing.fans import folded
from naq_dashboard.drawing.gantt import chart, longest_way
from naq_dashboard.languages import _
from naq_dashboard.pages.page import Query
from naq_dashboard.queries.audit import done_to
from naq_dashboard.state import AppState

__all__ = ["workflow", "workflows"]

PAGE = 20
MOST_DRAWN = 400
"""A drawing of more jobs than this shows nothing that the table does not."""


async def workflows(state: AppState, query: Query) -> dict[str, Any]:
    """Show the newest workflows and how far they are."""
    page = await state.read(list_workflows, PAGE, query.get("cursor") or None)
    return {"title": _("Workflows"), "found": page}


async def workflow(state: AppState, query: Query) -> dict[str, Any]:
    """Show one workflow: its jobs, who waits for whom, and what has failed."""
    view = await state.read(get_workflow, query.get("workflow_id"), state.mask)
    drawing: Drawing | None = None
    steps = {step.key: step for step in folded(view.jobs)}
    if len(steps) <= MOST_DRAWN:
        drawing = draw([(step.key, step.parents) for step in steps.values()])
    way = longest_way(view.jobs)
    return {
        "gantt": chart(view.jobs, view.created_at),
        "way": way,
        "way_keys": {step.key for step in steps.values() if any(job in way for job in step.jobs)},
        "way_ids": {job.job_id for job in way},
        "title": view.name or view.workflow_id,
        "workflow": view,
        "steps": steps,
        "names": {job.job_id: step.name for step in steps.values() for job in step.jobs},
        "has_failed": bool(way) and way[-1].state is JobState.DEAD,
        "drawing": drawing,
        "most_drawn": MOST_DRAWN,
        "activity": await done_to(state.read, "workflow", view.workflow_id),
        "left": sum(not job.state.is_final for job in view.jobs),
        "is_over": all(job.state.is_final for job in view.jobs),
    }
