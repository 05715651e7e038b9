"""The ways to run it: an application of its own, one to mount, or a router and a plugin for Litestar."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.plugins import InitPlugin
from litestar.response import Response

from naq_core import __version__
from naq_core.errors import BrokerError, NaqError
from naq_core.settings import Settings
from naq_dashboard.api import API_HANDLERS
from naq_dashboard.board import Board
from naq_dashboard.gate import Identify, check_action, problem
from naq_dashboard.handlers import BY_NAME, HANDLERS
from naq_dashboard.settings import DashboardSettings
from naq_dashboard.web import AnyRequest, error_page

__all__ = ["NaqDashboardPlugin", "create_app", "dashboard_app"]

log = logging.getLogger(__name__)

LARGEST_BODY = 1_000_000


def create_app(
    settings: Settings | None = None, dashboard: DashboardSettings | None = None, *, identify: Identify | None = None
) -> Litestar:
    """Make the dashboard as an application of its own; nothing is connected before the first request.

    Args:
        settings: Where NATS is and which namespace; by default from the environment.
        dashboard: The dashboard's own settings; by default from the environment.
        identify: Says who asks, instead of passwords and tokens: gets the connection, returns a `Viewer` or None.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    board = Board(settings or Settings.load(), dashboard or DashboardSettings.load(), identify=identify)
    return _application(board)


def dashboard_app(
    settings: Settings | None = None,
    dashboard: DashboardSettings | None = None,
    *,
    identify: Identify | None = None,
) -> Litestar:
    """Make the dashboard as an ASGI application to mount in another one, such as Starlette or FastAPI.

    It needs no lifespan of its own: it connects at its first request. `await app.state.naq_dashboard.aclose()` closes it.
    Where the outer application does not say in `root_path` under which path it is mounted (Litestar's `asgi(is_mount=True)`
    does not), set `DashboardSettings.root_path`.

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
        self.board = Board(
            settings or Settings.load(), dashboard or DashboardSettings.load(), identify=identify, path=f"/{path.strip('/')}"
        )

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the routes, and closing at the end."""
        app_config.route_handlers.append(_router(self.board, middleware=[self.board.gate]))
        app_config.on_shutdown.append(self.board.aclose)
        return app_config


def _application(board: Board) -> Litestar:
    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        yield
        await board.aclose()

    app = Litestar(
        logging_config=None,  # the log is the program's that runs it
        route_handlers=[_router(board, middleware=[])],
        middleware=[board.gate],
        lifespan=[lifespan],
        openapi_config=OpenAPIConfig(
            title="NAQ dashboard",
            version=__version__,
            path="/api",
            render_plugins=[JsonRenderPlugin(path="/openapi.json"), YamlRenderPlugin(path="/openapi.yaml")],
            use_handler_docstrings=True,
        ),
        request_max_body_size=LARGEST_BODY,
    )
    app.state.naq_dashboard = board
    return app


def _router(board: Board, middleware: list[Any]) -> Router:
    board.page_names = frozenset(BY_NAME)
    return Router(
        path=board.path or "/",
        route_handlers=[*HANDLERS, *API_HANDLERS],
        guards=[check_action],
        middleware=middleware,
        opt={"naq_dashboard": board, "naq_dashboard_path": board.path, "naq_dashboard_signer": board.signer},
        exception_handlers={HTTPException: _http_error, NaqError: _naq_error, Exception: _own_error},
        request_max_body_size=LARGEST_BODY,
    )


def _wants_page(request: AnyRequest) -> bool:
    return "/api/" not in request.url.path and "text/html" in request.headers.get("Accept", "")


def _http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    if _wants_page(request):
        return error_page(request, error.status_code, _TITLES.get(error.status_code, "That did not work"), error.detail)
    response = problem(error.status_code, error.detail)
    response.headers.update(error.headers or {})
    return response


def _naq_error(request: AnyRequest, error: NaqError) -> Response[Any]:
    """Say what naq_core refused: what does not exist, what is wrong, what the server cannot do just now."""
    match error:
        case LookupError():
            status = 404
        case BrokerError():
            status = 503
        case ValueError():
            status = 400
        case _:
            status = 409
    if _wants_page(request):
        return error_page(request, status, _TITLES[status], str(error))
    return problem(status, str(error))


def _own_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Log a mistake of the dashboard's own, and say no more than that it is one."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    text = "The dashboard has made a mistake; its log says which."
    return error_page(request, 500, _TITLES[500], text) if _wants_page(request) else problem(500, text)


_TITLES = {
    400: "That cannot be asked",
    403: "Not allowed",
    404: "Not found",
    409: "Not in this state",
    429: "Too many tries",
    500: "That was our mistake",
    503: "NATS does not answer",
}
