"""The application, and the ways to run it: alone, mounted in another one, or as a plugin for Litestar."""

import re
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from litestar import Litestar, Router, asgi
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.plugins import InitPlugin
from litestar.types import ASGIApp, Receive, Scope, Send

from naq_core.settings import Settings
from naq_dashboard.api import API_HANDLERS
from naq_dashboard.api.conditional import ConditionalGet
from naq_dashboard.api.strict import check_query
from naq_dashboard.docs.page import REFERENCE
from naq_dashboard.errors import EXCEPTION_HANDLERS
from naq_dashboard.guard.guard import Entrance, check_action, marked
from naq_dashboard.guard.login import Identify
from naq_dashboard.guard.peers import is_from_proxy, is_here
from naq_dashboard.pages import PAGES
from naq_dashboard.pages.handlers import HANDLERS
from naq_dashboard.settings import DashboardSettings
from naq_dashboard.state import SERVERS, AppState

__all__ = ["Dashboard", "NaqDashboardPlugin", "create_app", "dashboard_app"]

App = TypeVar("App", bound=Litestar)

LARGEST_BODY = 1_000_000
PREFIX_HEADER = b"x-forwarded-prefix"
SCHEME_HEADER = b"x-forwarded-proto"
SCHEMES = ("http", "https")

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,100}){1,10}")
_OWN_PATHS = frozenset({SERVERS, *(f"/{page.path.partition('/')[0]}" for page in PAGES)})


class Dashboard(Litestar):
    """The application: for each request it finds out under which path an outer application or a proxy serves it.

    Further servers have an application each, to which it hands what comes below their paths.
    """

    others: Mapping[str, Litestar] = {}
    """The applications of further servers, by the path of each."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; links follow from `root_path`, routes from what comes after it."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope, send = self._placed(scope), marked(send)
        root = scope["root_path"]
        mount = "/".join(scope["path"].removeprefix(root).split("/", 3)[:3])
        other = self.others.get(mount)
        if other is None:
            await super().__call__(scope, receive, send)
            return
        inner = f"{root}{mount}"
        scope = {**scope, "root_path": inner, "path": f"{inner}{_without(inner, scope['path'])}"}
        await other(scope, receive, send)

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


def create_app(
    settings: Settings | None = None, dashboard: DashboardSettings | None = None, *, identify: Identify | None = None
) -> Dashboard:
    """Make the dashboard as an application of its own; nothing is connected before the first request.

    Args:
        settings: Where NATS is and which namespace; by default from the environment.
        dashboard: The dashboard's own settings; by default from the environment.
        identify: Says who asks, instead of passwords and tokens: gets the connection, returns a `Viewer` or None.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    state = AppState(settings or Settings.load(), dashboard or DashboardSettings.load(), identify=identify)
    return _application(state)


def dashboard_app(
    settings: Settings | None = None,
    dashboard: DashboardSettings | None = None,
    *,
    identify: Identify | None = None,
) -> Dashboard:
    """Make the dashboard as an ASGI application to mount in another one, such as Starlette or FastAPI.

    It needs no lifespan of its own: it connects at its first request. `await app.state.naq_dashboard.aclose()` closes it.
    Where the outer application does not say in `root_path` under which path it is mounted, set `DashboardSettings.root_path`;
    in Litestar, take `NaqDashboardPlugin`.

    Args:
        settings: As for `create_app`.
        dashboard: As for `create_app`.
        identify: As for `create_app`: an embedding application knows its users.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    return create_app(settings, dashboard, identify=identify)


class NaqDashboardPlugin(InitPlugin):
    """Adds the dashboard to a Litestar application.

    Args:
        path: Where its pages are. Default `/naq`.
        settings: As for `create_app`.
        dashboard: As for `create_app`.
        identify: As for `create_app`.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    def __init__(
        self,
        path: str = "/naq",
        settings: Settings | None = None,
        dashboard: DashboardSettings | None = None,
        *,
        identify: Identify | None = None,
    ) -> None:
        self.state = AppState(settings or Settings.load(), dashboard or DashboardSettings.load(), identify=identify)
        self.path = f"/{path.strip('/')}"

    @property
    def board(self) -> AppState:
        """The old name of `state`."""
        warnings.warn("NaqDashboardPlugin.board is now NaqDashboardPlugin.state", DeprecationWarning, stacklevel=2)
        return self.state

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dashboard below its path, and closing at the end."""
        app_config.route_handlers.append(_mounted(_application(self.state), self.path))
        app_config.on_shutdown.append(self.state.aclose)
        return app_config


def _application(state: AppState) -> Dashboard:
    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        state.begin()
        yield
        await state.aclose()

    app = _of(Dashboard, state, lifespan)
    app.others = {each.mount: _of(Litestar, each) for each in state.others.values()}
    return app


def _of(kind: type[App], state: AppState, *lifespan: Any) -> App:
    """Return the application of one server."""
    api = Router("/", route_handlers=API_HANDLERS, guards=[check_query], middleware=[ConditionalGet()])
    return kind(
        route_handlers=[*HANDLERS, *REFERENCE, api],
        guards=[check_action],
        middleware=[Entrance()],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=lifespan,
        logging_config=None,  # the log is the program's that runs it
        openapi_config=None,  # naq_dashboard.docs.openapi has its own, which is the same inside another application
        request_max_body_size=LARGEST_BODY,
        state=State({"naq_dashboard": state}),
    )


def _mounted(app: ASGIApp, path: str) -> Any:
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
