"""Figures of functions, and marks of deployments, as JSON."""

from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.params import QueryParameter, RequestBody

from naq_core.metrics import FunctionFigures
from naq_core.views import Deploy
from naq_dashboard.access.roles import Action
from naq_dashboard.actions.details import Details, Target, Text
from naq_dashboard.api.actions import Done
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.queries.deploys import deploys
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["FUNCTIONS"]


class NewDeploy(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A version that is deployed now."""

    version: Text
    """Its name, such as `v12`."""


@get("/api/functions", tags=["metrics"])
async def functions(
    request: AnyRequest,
    hours: Annotated[float, QueryParameter(gt=0, le=72, description="The time range.")] = 1.0,
    queue: Annotated[str, QueryParameter(max_length=500, description="Only jobs of this queue.")] = "",
) -> list[FunctionFigures]:
    """Return what the jobs of each function did: runs, failures, percentiles of run and waiting time; most time first."""
    return await state_of(request).figures.functions(hours, queue)


@get("/api/deploys", tags=["metrics"])
async def all_deploys(request: AnyRequest) -> list[Deploy]:
    """List the latest marks of deployments, newest first."""
    return await deploys(state_of(request).read)


@post("/api/deploys", tags=["metrics"], status_code=201, opt={"action": Action.MARK_DEPLOY, "verb": "mark-deploy"})
async def mark_deploy(request: AnyRequest, data: RequestBody[NewDeploy]) -> Done:
    """Mark that a version is deployed now; charts show it as a line."""
    operations = state_of(request).operations
    return Done((await operations.perform(viewer_of(request), "mark-deploy", Target(data.version.strip()), Details())).notice)


FUNCTIONS: list[Any] = [functions, all_deploys, mark_deploy]
