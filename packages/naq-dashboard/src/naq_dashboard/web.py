"""What handlers have in common: the application's state, links, and the frame of a page."""

from typing import Any, TypeAlias
from urllib.parse import unquote

from litestar import MediaType, Request
from litestar.response import Response

from naq_dashboard.guard.guard import base_of, viewer_of
from naq_dashboard.pages.page import Query
from naq_dashboard.rendering.templates import Links
from naq_dashboard.state import AppState

AnyRequest: TypeAlias = Request[Any, Any, Any]

MOST, LONGEST = 100, 2000
"""Parameters that are looked at, and their characters; a topic of live updates is known by them."""
NOTICE = "naq_dashboard_notice"
"""The cookie that carries one sentence over a redirect."""


def state_of(request: AnyRequest) -> AppState:
    """Return the state of the dashboard that a request belongs to."""
    state: AppState = request.app.state.naq_dashboard
    return state


def links_of(request: AnyRequest) -> Links:
    """Return the builder of links for a request."""
    return Links(base_of(request))


def query_of(request: AnyRequest) -> Query:
    """Return the question in the address: its query and what its path names."""
    asked = [(key, value) for key, value in request.query_params.multi_items() if len(value) <= LONGEST]
    named = [(key, str(value)) for key, value in request.path_params.items()]
    return Query((*asked[:MOST], *named), viewer_of(request))


def frame(request: AnyRequest, page: str, query: Query) -> dict[str, Any]:
    """Return what every template needs."""
    state = state_of(request)
    return {
        "page": page,
        "pages": state.page_names,
        "url": links_of(request),
        "viewer": query.viewer,
        "may": query.viewer.may,
        "csrf": state.signer.form_token(query.viewer.name),
        "query": query.asdict(),
        "notice": unquote(request.cookies.get(NOTICE, "")[:1500]),
        "away": "",
        "stream": "",
        "broker_url": state.broker.url,
    }


def html_page(request: AnyRequest, text: str, status: int = 200) -> Response[bytes]:
    """Return a page; a notice that it shows is not shown again."""
    response = Response(text.encode(), status_code=status, media_type=MediaType.HTML)
    if NOTICE in request.cookies:
        response.delete_cookie(NOTICE, path=f"{links_of(request).base}/")
    return response


def error_page(request: AnyRequest, status: int, title: str, detail: str) -> Response[bytes]:
    """Return a page that says what is wrong."""
    state = state_of(request)
    context = frame(request, "error", Query((), viewer_of(request))) | {"title": title, "status": status, "detail": detail}
    return html_page(request, state.renderer.page("error.html", context), status)
