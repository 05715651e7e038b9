"""What handlers of pages and of the API have in common: the state of the dashboard, and links."""

from typing import Any, TypeAlias

from litestar import Request

from naq_dashboard.guard.peers import base_of, home_of
from naq_dashboard.render import Links
from naq_dashboard.state import AppState

__all__ = ["AnyRequest", "home_links_of", "links_of", "state_of"]

AnyRequest: TypeAlias = Request[Any, Any, Any]


def state_of(request: AnyRequest) -> AppState:
    """Return the state of the dashboard that a request belongs to."""
    state: AppState = request.app.state.naq_dashboard
    return state


def links_of(request: AnyRequest) -> Links:
    """Return the builder of links for a request."""
    return Links(base_of(request))


def home_links_of(request: AnyRequest) -> Links:
    """Return the builder of links to the dashboard's own server, where there are several: people log in there for all."""
    return Links(home_of(request))
