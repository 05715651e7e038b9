"""The ways to run it: an application of its own, one to mount, or a plugin for Litestar."""

import logging
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.plugins import InitPlugin
from litestar.response import Response

from naq_core.errors import BrokerError, EncodeError, NaqError
from naq_core.settings import Settings
from naq_dashboard.api import API_HANDLERS
from naq_dashboard.api.conditional import ConditionalGet
from naq_dashboard.api.strict import check_query, query_names
from naq_dashboard.docs.page import REFERENCE
from naq_dashboard.entrance import Dashboard, mounted
from naq_dashboard.guard.guard import Identify, check_action, problem
from naq_dashboard.pages.handlers import BY_NAME, HANDLERS
from naq_dashboard.settings import DashboardSettings
from naq_dashboard.state import AppState
from naq_dashboard.web import AnyRequest, error_page

__all__ = ["NaqDashboardPlugin", "create_app", "dashboard_app"]

log = logging.getLogger(__name__)

LARGEST_BODY = 1_000_000


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
        app_config.route_handlers.append(mounted(_application(self.state), self.path))
        app_config.on_shutdown.append(self.state.aclose)
        return app_config


def _application(state: AppState) -> Dashboard:
    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        state.broker.begin()  # who starts it learns at once that NATS is away
        yield
        await state.aclose()

    state.page_names = frozenset(BY_NAME)
    api = Router("/", route_handlers=API_HANDLERS, guards=[check_query], middleware=[ConditionalGet()])
    return Dashboard(
        route_handlers=[*HANDLERS, *REFERENCE, api],
        guards=[check_action],
        middleware=[state.guard],
        exception_handlers={HTTPException: _http_error, NaqError: _naq_error, Exception: _own_error},
        lifespan=[lifespan],
        logging_config=None,  # the log is the program's that runs it
        openapi_config=None,  # naq_dashboard.docs.openapi has its own, which is the same inside another application
        request_max_body_size=LARGEST_BODY,
        state=State({"naq_dashboard": state}),
    )


def _wants_page(request: AnyRequest) -> bool:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return not path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def _http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Say what is wrong with a request, also with one that leads nowhere."""
    faults = _faults(request, error)
    detail = "; ".join(f"{each['name']}: {each['detail']}" for each in faults) or error.detail
    if error.status_code == 404 and not error.extra and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"nothing found at {request.scope['path'][:200]}"
    if _wants_page(request):
        return error_page(request, error.status_code, _TITLES.get(error.status_code, "Error"), detail)
    response = problem(error.status_code, detail, **({"errors": faults} if faults else {}))
    response.headers.update(error.headers or {})
    return response


def _faults(request: AnyRequest, error: HTTPException) -> list[dict[str, str]]:
    """Return what Litestar found wrong, by parameter or field."""
    extra = [each for each in error.extra if isinstance(each, dict)] if isinstance(error.extra, list) else []
    names = query_names(request.route_handler) if extra else {}
    found = []
    for each in extra:
        name, source = str(each.get("key", "body")), each.get("source", "body")
        found.append(
            {"name": names.get(name, name), "in": str(getattr(source, "value", source)), "detail": str(each.get("message"))}
        )
    return found


def _naq_error(request: AnyRequest, error: NaqError) -> Response[Any]:
    """Say what naq_core refused: what does not exist, what is wrong, what the server cannot do just now."""
    match error:
        case LookupError():
            status = 404
        case ValueError() | EncodeError():
            status = 400
        case BrokerError():
            status = 503
        case _:
            status = 409
    if _wants_page(request):
        return error_page(request, status, _TITLES[status], str(error))
    return problem(status, str(error))


def _own_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Log a mistake of the dashboard's own, and say no more than that it is one."""
    log.error("%s %r failed", request.method, request.url.path, exc_info=error)
    text = "Internal error; see the dashboard's log."
    return error_page(request, 500, _TITLES[500], text) if _wants_page(request) else problem(500, text)


_TITLES = {
    400: "Bad request",
    401: "Not logged in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible in this state",
    429: "Too many attempts",
    501: "Not installed",
    500: "Internal error",
    503: "NATS does not answer",
}
