"""What a worker is doing, as a page. It is asked for by a form: the worker has to work for it, and it is noted who looked."""

from typing import Any

from litestar import post
from litestar.params import FromPath
from litestar.response import Response

from naq_dashboard.access.roles import Action
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.languages import N_
from naq_dashboard.pages.frame import frame, html_page, query_of
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["STACKS"]

TITLE = N_("What it is doing")


@post(
    "/workers/{worker_id:str}/stack",
    include_in_schema=False,
    opt={"action": Action.STACK_WORKER, "verb": "stack-worker"},
    status_code=200,
)
async def see_stacks(request: AnyRequest, worker_id: FromPath[str]) -> Response[bytes]:
    """Answer with the stacks of a worker's jobs, threads and child processes."""
    state = state_of(request)
    text = await state.operations.stacks(viewer_of(request), worker_id)
    query = query_of(request)
    context = frame(request, "worker", query) | {
        "title": state.languages.catalogue(query.language).gettext(TITLE),
        "worker_id": worker_id,
        "stacks": text,
        "at": state.now(),
    }
    return html_page(request, state.renderer.page("worker_stack.html", context))


STACKS: list[Any] = [see_stacks]
