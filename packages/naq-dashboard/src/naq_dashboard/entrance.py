"""The application itself: where it stands under another one's paths, and what every answer of it carries."""

import re
from typing import Any

from litestar import Litestar, asgi
from litestar.types import ASGIApp, Receive, Scope, Send

from naq_dashboard.guard.guard import is_from_proxy, is_here, marked
from naq_dashboard.pages import PAGES
from naq_dashboard.state import AppState

__all__ = ["Dashboard", "mounted"]

PREFIX_HEADER = b"x-forwarded-prefix"
SCHEME_HEADER = b"x-forwarded-proto"
SCHEMES = ("http", "https")

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,100}){1,10}")
_OWN_PATHS = frozenset(f"/{page.path.partition('/')[0]}" for page in PAGES)


class Dashboard(Litestar):
    """Litestar, told for each request under which path the outer application or the proxy shows it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; links follow from `root_path`, routes from what comes after it."""
        if scope["type"] == "http":
            scope, send = self._placed(scope), marked(send)
        await super().__call__(scope, receive, send)

    def _placed(self, scope: Scope) -> Scope:
        """Return the scope with the path that people see before ours as `root_path`, at the start of `path` as ASGI has it.

        A server or framework may have said it in `root_path` and may have left it in `path` or not; a proxy may have cut it off
        or not, and says it in our settings or, if it is a trusted one, in `X-Forwarded-Prefix`. It may also say that people came
        by https.
        """
        state: AppState = self.state.naq_dashboard
        given = scope.get("root_path", "").rstrip("/")
        own = state.settings.root_path
        path = _without(given, scope["path"])
        if own not in _OWN_PATHS:
            path = _without(own, path)
        is_trusted = is_from_proxy(scope, state.settings)
        root = own or f"{_forwarded_prefix(scope) if is_trusted else ''}{given}"
        scheme = _header(scope, SCHEME_HEADER) if is_trusted or is_here(scope) else ""
        if scheme not in SCHEMES:
            scheme = scope.get("scheme", "http")
        return {**scope, "root_path": root, "path": f"{root}{path}", "scheme": scheme}  # type: ignore[return-value]  # the same keys


def mounted(app: ASGIApp, path: str) -> Any:
    """Return a handler of an outer Litestar application that hands everything below a path to ours."""

    @asgi(path, is_mount=True, copy_scope=True, opt={"exclude_from_csrf": True})
    async def naq_dashboard(scope: Scope, receive: Receive, send: Send) -> None:
        root = f"{scope.get('root_path', '').rstrip('/')}{path.rstrip('/')}"
        await app({**scope, "root_path": root, "path": f"{root}/{scope['path'].lstrip('/')}"}, receive, send)  # type: ignore[arg-type]  # the same keys

    return naq_dashboard


def _without(prefix: str, path: str) -> str:
    """Return a path without what comes before ours; it always begins with a slash."""
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        path = path[len(prefix) :]
    return path or "/"


def _forwarded_prefix(scope: Scope) -> str:
    """Return the prefix that a proxy has cut off, if it can be one: it ends up in every link and redirect."""
    value = _header(scope, PREFIX_HEADER).rstrip("/")
    return value if _PREFIX.fullmatch(value) else ""


def _header(scope: Scope, name: bytes) -> str:
    return next((value for each, value in scope["headers"] if each == name), b"").decode("latin-1")
