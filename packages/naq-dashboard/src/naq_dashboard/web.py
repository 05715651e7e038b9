"""What handlers of pages and of the API have in common: the state of the dashboard, and links."""

from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from litestar import Request

from naq_dashboard.guard.peers import base_of
from naq_dashboard.rendering.assets import assets
from naq_dashboard.state import AppState

__all__ = ["AnyRequest", "Links", "links_of", "state_of"]

AnyRequest: TypeAlias = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Links:
    """Builds addresses: what the outer application or the proxy puts before each path, the path, each part quoted."""

    base: str

    def __call__(self, *parts: object, **query: Any) -> str:
        """Return the address of a page, such as `url("jobs", job_id, state="dead")`."""
        path = "/".join(quote(str(part), safe="") for part in parts)
        text = urlencode([(key, value) for key, value in query.items() if value not in (None, "", ())], doseq=True)
        return f"{self.base}/{path}{'?' if text else ''}{text}"

    @staticmethod
    def can_hold(name: str) -> bool:
        """Return whether a stored name, which anybody may have written, can be a part of a path to servers and browsers."""
        return name not in {"", ".", ".."} and "/" not in name

    def static(self, path: str) -> str:
        """Return the address of a static file; it changes with the file, so that browsers can cache it without limit."""
        return f"{self.base}/static/{path}?v={assets()[path].version}"


def state_of(request: AnyRequest) -> AppState:
    """Return the state of the dashboard that a request belongs to."""
    state: AppState = request.app.state.naq_dashboard
    return state


def links_of(request: AnyRequest) -> Links:
    """Return the builder of links for a request."""
    return Links(base_of(request))
