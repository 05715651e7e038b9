"""Workflows as JSON."""

from typing import Annotated, Any

from litestar import get
from litestar.params import FromPath, QueryParameter

from naq_core.inspect import get_workflow, list_workflows
from naq_core.views import WorkflowPage, WorkflowView
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["WORKFLOWS"]


@get("/api/workflows", tags=["workflows"])
async def all_workflows(
    request: AnyRequest,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 20,
    cursor: Annotated[str, QueryParameter(max_length=100)] = "",
) -> WorkflowPage:
    """List the workflows, the newest first."""
    return await state_of(request).read(list_workflows, limit, cursor or None)


@get("/api/workflows/{workflow_id:str}", tags=["workflows"])
async def one_workflow(request: AnyRequest, workflow_id: FromPath[str]) -> WorkflowView:
    """Return a workflow with its jobs."""
    state = state_of(request)
    return await state.read(get_workflow, workflow_id, state.mask)


WORKFLOWS: list[Any] = [all_workflows, one_workflow]
