"""Failures, grouped, as JSON."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from naq_dashboard.queries.errors import group_failures, newest_failures
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["ERRORS", "ErrorGroup"]

Short = Annotated[str, QueryParameter(max_length=500)]


class ErrorGroup(msgspec.Struct, kw_only=True):
    """Dead jobs that failed alike."""

    function: str
    type: str
    message: str
    count: int
    queues: list[str]
    first_at: datetime | None
    last_at: datetime | None
    sample: str
    """The id of one of them."""


@get("/api/errors", tags=["errors"])
async def all_errors(request: AnyRequest, queue: Short = "") -> list[ErrorGroup]:
    """Group the newest dead jobs, up to 500, by function, error and message."""
    page = await newest_failures(state_of(request).read, queue)
    return [
        ErrorGroup(
            function=group.function,
            type=group.type,
            message=group.error.message if group.error else group.sample.reason,
            count=group.count,
            queues=sorted(group.queues),
            first_at=group.first_at,
            last_at=group.last_at,
            sample=group.sample.job_id,
        )
        for group in group_failures(page.jobs)
    ]


ERRORS: list[Any] = [all_errors]
