"""The audit trail as JSON."""

from typing import Annotated, Any

from litestar import get
from litestar.params import QueryParameter

from naq_core.views import AuditFilter, AuditPage
from naq_dashboard.queries.audit import find_entries
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["TRAIL"]


@get("/api/audit", tags=["audit"])
async def audit_trail(
    request: AnyRequest,
    by: Annotated[str, QueryParameter(max_length=200, description="Only actions of this user.")] = "",
    action: Annotated[str, QueryParameter(max_length=200, description="Only this action, such as `cancel-job`.")] = "",
    kind: Annotated[str, QueryParameter(max_length=200, description="Only this kind of target: job, queue, …, or login.")] = "",
    target: Annotated[str, QueryParameter(max_length=200, description="Only targets with this text in their id or name.")] = "",
    outcome: Annotated[str, QueryParameter(max_length=200, description="Only this outcome: begun, done, refused, …")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=500, description="Maximum number of entries per page.")] = 50,
    cursor: Annotated[str, QueryParameter(max_length=20, description="The cursor that the previous page returned.")] = "",
) -> AuditPage:
    """List what was done with the dashboard and the command line, and what was refused, the newest first."""
    wanted = AuditFilter(by=by, action=action, kind=kind, target=target, outcome=outcome)
    return await find_entries(state_of(request).read, wanted, limit, cursor)


TRAIL: list[Any] = [audit_trail]
