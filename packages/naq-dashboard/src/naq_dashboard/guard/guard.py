"""What every request passes before a handler sees it: the Host header, the peer, the origin, and who asks."""

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from litestar.connection import ASGIConnection, Request
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.response import Response
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from naq_core.audit import Actor
from naq_dashboard.access.passwords import SessionSigner
from naq_dashboard.access.roles import VIEWER, Action, Viewer
from naq_dashboard.actions.refusals import Refusal, Refusals
from naq_dashboard.guard.login import Login
from naq_dashboard.guard.peers import address_of, home_of, is_here
from naq_dashboard.settings import DashboardSettings

__all__ = ["SAFE_METHODS", "Entrance", "Guard", "check_action", "marked", "problem", "viewer_of"]

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self'; "
    "connect-src 'self'; "
    "form-action 'self'; "
    "base-uri 'none'; "
    "frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
VIEWER_KEY = "naq_dashboard_viewer"
NOBODY = Viewer("", VIEWER)


class Entrance(ASGIMiddleware):
    """Leads every request to the guard of its application: the routes themselves know nothing of settings."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Ask the guard."""
        guard: Guard = scope["app"].state.naq_dashboard.guard
        await guard.handle(scope, receive, send, next_app)


class Guard:
    """Refuses what must not reach a handler."""

    def __init__(self, settings: DashboardSettings, login: Login, *, is_embedded: bool) -> None:
        self._settings = settings
        self._login = login
        self._hosts = ("*",) if is_embedded and not settings.allowed_hosts else settings.hosts
        self._is_open_to_all = is_embedded or settings.is_open_to_all
        self._refusals = Refusals(_log_refusal)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Check the request."""
        request: Request[Any, Any, Any] = Request(scope, receive)
        refusal = await self._enter(request, public=bool(scope["route_handler"].opt.get("public")))
        await (next_app if refusal is None else refusal)(scope, receive, send)

    async def _enter(self, request: Request[Any, Any, Any], *, public: bool) -> ASGIApp | None:
        """Let the request in, or return the answer that sends it away."""
        try:
            self._check_host(request)
            self._check_peer(request)
            if request.method == "OPTIONS":
                return _options(request)
            if request.method not in SAFE_METHODS:
                check_origin(request)
            viewer = await self._identify_unless(request, public=public)
        except HTTPException as error:
            refusal = Refusal(Actor("", ""), request.method, str(error.status_code), address_of(request))
            self._refusals.add(refusal, f"{request.scope['path'][:200]!r}: {error.detail}")
            response = problem(error.status_code, error.detail)
            response.headers.update(error.headers or {})
            return response.to_asgi_response(request=request, app=None)
        if viewer is None and not public:
            return self._send_to_login(request)
        request.scope["state"][VIEWER_KEY] = viewer or NOBODY
        return None

    async def _identify_unless(self, request: Request[Any, Any, Any], *, public: bool) -> Viewer | None:
        """Find out who asks; None for a public address whose credentials are not checked after too many wrong ones."""
        try:
            viewer = await self._login.identify(request)
        except HTTPException as error:
            if public and error.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                return None
            raise
        if viewer is not None and self._settings.read_only:
            return Viewer(viewer.name, VIEWER, viewer.by)
        return viewer

    def close(self) -> None:
        """Log what was only counted."""
        self._refusals.close()

    def _check_host(self, request: Request[Any, Any, Any]) -> None:
        """Refuse other names: a foreign page can make its own name point at this machine (DNS rebinding)."""
        given = request.headers.get("Host", "").lower()
        name = given.partition("]")[0] + "]" if given.startswith("[") else given.partition(":")[0]
        for host in self._hosts:
            if host in ("*", name) or (host.startswith("*.") and name.endswith(host[1:])):
                return
        raise PermissionDeniedException(f"host {given!r} is not allowed; NAQ_DASHBOARD_ALLOWED_HOSTS lists the allowed names")

    def _check_peer(self, request: Request[Any, Any, Any]) -> None:
        """Answer other machines only if that is configured: another server than ours may listen on any address."""
        if self._is_open_to_all or is_here(request.scope):
            return
        raise PermissionDeniedException(
            "without a login only this machine is served: set NAQ_DASHBOARD_PASSWORD or _ALLOWED_HOSTS"
        )

    def _send_to_login(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Send people to the login page, and tell programs what is missing."""
        wants_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        path, base = request.url.path, home_of(request)
        if wants_page and self._login.has_form:
            target = path + (f"?{request.url.query}" if request.url.query else "")
            response: Response[Any] = Response(b"", status_code=303, headers={"Location": f"{base}/login?next={quote(target)}"})
        else:
            response = problem(401, "log in, or send a token")
            response.headers["WWW-Authenticate"] = (
                'Basic realm="naq", charset="UTF-8"' if self._settings.accounts else 'Bearer realm="naq"'
            )
        return response.to_asgi_response(request=request, app=None)


def _options(request: Request[Any, Any, Any]) -> ASGIApp:
    """List the methods. Other sites cannot use any of them, so there are no CORS headers."""
    template = request.scope["path_template"]
    routes = [route for route in request.app.routes if isinstance(route, HTTPRoute) and route.path_format == template]
    methods = sorted({str(method) for route in routes for method in route.methods})
    response: Response[Any] = Response(None, status_code=204, headers={"Allow": ", ".join(methods)})
    return response.to_asgi_response(request=request, app=None)


def _log_refusal(refusal: Refusal, what: str, count: int) -> None:
    if count == 1:
        log.warning("%s %s from %s refused", refusal.action, what, refusal.address)
    else:
        log.warning("%s from %s refused with status %s, %d times", refusal.action, refusal.address, refusal.reason, count)


def viewer_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Viewer:
    """Return who asks, as the guard has found out. A request that leads nowhere has not passed it: it is nobody's."""
    viewer: Viewer = connection.scope["state"].get(VIEWER_KEY, NOBODY)
    return viewer


def check_origin(request: Request[Any, Any, Any]) -> None:
    """Refuse what another site's page makes a browser send.

    Every browser of today says where a request comes from (`Sec-Fetch-Site`), and older ones send `Origin`. A program that
    sends neither and no cookie acts with credentials of its own.

    Raises:
        PermissionDeniedException: It comes from elsewhere, or does not say from where and has a cookie.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site in {"same-origin", "none"}:
            return
        raise PermissionDeniedException(f"this request comes from another site ({site})")
    origin = request.headers.get("Origin")
    if origin is not None:
        if origin.partition("://")[2] == request.headers.get("Host", ""):
            return
        raise PermissionDeniedException(f"this request comes from another site ({origin})")
    if request.headers.get("Cookie"):
        raise PermissionDeniedException("this request has a cookie but no Sec-Fetch-Site or Origin header")


async def check_action(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of every handler: an unsafe method needs an action that the viewer may do, and a browser's form its token.

    Raises:
        PermissionDeniedException: One of them is missing.
    """
    if connection.scope.get("method") in SAFE_METHODS or handler.opt.get("anybody"):
        return
    action: Action | None = handler.opt.get("action")
    viewer, state = viewer_of(connection), connection.app.state.naq_dashboard
    if action is not None:
        target = next((str(value) for value in connection.path_params.values()), "")
        state.audit.require(viewer, action, handler.opt.get("verb", str(action)), target)
    elif not handler.opt.get("checks_action"):
        raise PermissionDeniedException("no permission is defined for this action")
    await check_form_token(connection, viewer, state.signer)


async def check_form_token(connection: ASGIConnection[Any, Any, Any, Any], viewer: Viewer, signer: SessionSigner) -> None:
    """Refuse a browser's request that does not come from a page we made: the second lock beside `check_origin`.

    Raises:
        PermissionDeniedException: The token is missing or too old.
    """
    headers = connection.headers
    from_program = not any(name in headers for name in ("Sec-Fetch-Site", "Origin", "Cookie"))
    if viewer.by == "token" or from_program:
        return
    token = headers.get("X-CSRF-Token")
    if token is None and isinstance(connection, Request) and "form" in headers.get("Content-Type", ""):
        token = str((await connection.form()).get("_csrf_token", ""))
    if not token or not signer.is_form_token(viewer.name, token):
        raise PermissionDeniedException("this page has expired: reload it and try again")


def marked(send: Send) -> Send:
    """Return a way to send that adds the headers which every answer has."""

    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            headers = MutableScopeHeaders.from_message(message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_marked


def problem(status: int, detail: str, **more: Any) -> Response[Any]:
    """Return an answer in the form of RFC 9457.

    Args:
        more: Members besides those that every problem has.
    """
    body = {"type": "about:blank", "status": status, "title": HTTPStatus(status).phrase, "detail": detail} | more
    return Response(body, status_code=status, media_type="application/problem+json")
