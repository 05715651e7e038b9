"""What every request passes: the Host header, who asks, where an unsafe request comes from, and the headers of the answer."""

import asyncio
import base64
import binascii
import hmac
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from inspect import isawaitable
from typing import Any, TypeAlias
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
from naq_dashboard.access.passwords import SessionSigner, password_matches
from naq_dashboard.access.roles import ADMIN, VIEWER, Action, Viewer
from naq_dashboard.actions.audit import Audit
from naq_dashboard.actions.refusals import Refusal, Refusals
from naq_dashboard.guard.guesses import Guesses, Tries, parse_address
from naq_dashboard.settings import DashboardSettings

__all__ = [
    "COOKIE",
    "Guard",
    "Identify",
    "address_of",
    "base_of",
    "check_action",
    "is_from_proxy",
    "is_here",
    "marked",
    "problem",
    "viewer_of",
]

log = logging.getLogger(__name__)

COOKIE = "naq_dashboard_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
VIEWER_KEY = "naq_dashboard_viewer"
NOBODY = Viewer("", VIEWER)
TOKEN_PAUSE = 1.0
"""Seconds. A token is long and random: a guess a second finds none, and one wrong program does not keep the others out."""
REMEMBERED_LOGINS = 64

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

Identify: TypeAlias = Callable[[ASGIConnection[Any, Any, Any, Any]], Viewer | Awaitable[Viewer | None] | None]
"""How an embedding application says who asks; None sends them away."""


def viewer_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Viewer:
    """Return who asks; the gate has put it there. A request that leads nowhere has not come to the gate: it is nobody's."""
    viewer: Viewer = connection.scope["state"].get(VIEWER_KEY, NOBODY)
    return viewer


class Guard(ASGIMiddleware):
    """Lets in what may come in."""

    scopes = (ScopeType.HTTP,)

    def __init__(
        self, settings: DashboardSettings, signer: SessionSigner, audit: Audit, identify: Identify | None = None
    ) -> None:
        self.settings = settings
        self.signer = signer
        self.audit = audit
        self._identify = identify
        self._hosts = ("*",) if identify is not None and not settings.allowed_hosts else settings.hosts
        self._is_open_to_all = identify is not None or settings.is_open_to_all
        self._passwords = {each.name: each.password for each in settings.accounts}
        self._known: OrderedDict[bytes, Viewer] = OrderedDict()
        """Whose credentials were right before, by a keyed digest of them and of the address that they came from."""
        self._passwords_tried, self._tokens_tried = Guesses("password"), Guesses("token", TOKEN_PAUSE)
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
        """Find out who asks; nobody, where what is public is asked for with credentials that are not looked at any more."""
        try:
            return await self.identify(request)
        except HTTPException as error:
            if public and error.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                return None
            raise

    async def identify(self, request: Request[Any, Any, Any]) -> Viewer | None:
        """Find out who asks; None where they would have to log in."""
        if self._identify is not None:
            answer = self._identify(request)
            viewer = await answer if isawaitable(answer) else answer
        else:
            viewer = await self._recognise(request)
        if viewer is not None and self.settings.read_only:
            return Viewer(viewer.name, VIEWER, viewer.by)
        return viewer

    def close(self) -> None:
        """Log what was only counted."""
        self._refusals.close()

    async def login(self, name: str, password: str, address: str) -> Viewer | None:
        """Check a name and a password.

        Args:
            address: Who guesses is slowed down by where they are: nobody is to be able to lock others out.

        Raises:
            HTTPException: 429, after too many wrong ones within a minute, with the seconds to wait in `Retry-After`.
        """
        tries = self._passwords_tried.of(address)
        known = next((each for each in self.settings.accounts if each.name == name), None)
        stored = known or next(iter(self.settings.accounts), None)  # an unknown name takes as long as a known one
        async with tries.turn:
            self._check(tries, "password", address)
            if stored is not None and await asyncio.to_thread(password_matches, password, stored.password) and known is not None:
                return Viewer(known.name, known.access, "password")
            tries.failed()
        # A name that nobody has may be a password, typed into the wrong field.
        told = "wrong password" if known is not None else "no such name"
        self.audit.refused(Actor("" if known is None else known.name, "password"), "log-in", "", told, address)
        return None

    def session(self, viewer: Viewer, seconds: float) -> str:
        """Return what the browser of somebody who has logged in keeps."""
        return self.signer.session(viewer.name, self._passwords[viewer.name], seconds)

    async def _recognise(self, request: Request[Any, Any, Any]) -> Viewer | None:
        settings = self.settings
        if not settings.needs_login:
            return Viewer("", ADMIN)
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        match scheme.lower():
            case "bearer":
                return self._by_token(credentials.strip(), address_of(request))
            case "basic":
                return await self._by_basic(credentials.strip(), address_of(request))
            case _:
                return self._by_proxy(request) or self._by_session(request)

    def _by_token(self, token: str, address: str) -> Viewer | None:
        mark = self._mark("bearer", address, token)
        if (viewer := self._known.get(mark)) is not None:
            return viewer
        tries = self._tokens_tried.of(address)
        self._check(tries, "token", address)
        for name, known, access in (("token", self.settings.token, ADMIN), ("read-token", self.settings.read_token, VIEWER)):
            if known and hmac.compare_digest(token.encode(), known.encode()):
                return self._remembered(mark, Viewer(name, access, "token"))
        tries.failed()
        self.audit.refused(Actor("", "token"), "log-in", "", "wrong token", address)
        return None

    async def _by_basic(self, credentials: str, address: str) -> Viewer | None:
        """Check a Basic header; what was right once is remembered, as a hash takes long."""
        mark = self._mark("basic", address, credentials)
        if (known := self._known.get(mark)) is not None:
            return known
        try:
            name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        viewer = await self.login(name, password, address)
        return None if viewer is None else self._remembered(mark, viewer)

    def _mark(self, *parts: str) -> bytes:
        return hmac.digest(self.settings.secret.encode(), "\0".join(parts).encode(), "sha256")

    def _remembered(self, mark: bytes, viewer: Viewer) -> Viewer:
        """Remember who has the right credentials: wrong ones from the same address do not keep them out."""
        self._known[mark] = viewer
        if len(self._known) > REMEMBERED_LOGINS:
            self._known.popitem(last=False)
        return viewer

    def _check(self, tries: Tries, what: str, address: str) -> None:
        """Refuse to look at another guess after too many.

        Raises:
            HTTPException: 429.
        """
        try:
            tries.check()
        except HTTPException:
            self.audit.refused(Actor("", what), "log-in", "", f"too many wrong {what}s", address)
            raise

    def _by_proxy(self, request: Request[Any, Any, Any]) -> Viewer | None:
        settings = self.settings
        names = request.headers.getall(settings.user_header, []) if settings.user_header else []
        if len(names) != 1 or not names[0] or not is_from_proxy(request.scope, settings):
            return None  # of two names one is not the proxy's
        name = names[0]
        return Viewer(name, settings.access_of_proxy_user(name), "proxy")

    def _by_session(self, request: Request[Any, Any, Any]) -> Viewer | None:
        word = request.cookies.get(COOKIE)
        name = self.signer.session_user(word, self._passwords) if word else None
        return None if name is None else self._account(name, "session")

    def _account(self, name: str, by: str) -> Viewer | None:
        """Return an account as it is now: rights are not kept in the cookie."""
        return next((Viewer(each.name, each.access, by) for each in self.settings.accounts if each.name == name), None)

    def _check_host(self, request: Request[Any, Any, Any]) -> None:
        """Refuse names that are not ours: a page elsewhere may make its own name point at this machine (DNS rebinding)."""
        given = request.headers.get("Host", "").lower()
        name = given.partition("]")[0] + "]" if given.startswith("[") else given.partition(":")[0]
        for host in self._hosts:
            if host in ("*", name) or (host.startswith("*.") and name.endswith(host[1:])):
                return
        raise PermissionDeniedException(f"host {given!r} is not allowed; NAQ_DASHBOARD_ALLOWED_HOSTS lists the allowed names")

    def _check_peer(self, request: Request[Any, Any, Any]) -> None:
        """Answer other machines only where that is wanted: under a server of its own choice we do not know where it listens."""
        if self._is_open_to_all or is_here(request.scope):
            return
        raise PermissionDeniedException(
            "without a login only this machine is served: set NAQ_DASHBOARD_PASSWORD or _ALLOWED_HOSTS"
        )

    def _send_to_login(self, request: Request[Any, Any, Any]) -> ASGIApp:
        """Send people to the login page, and tell programs what is missing."""
        wants_page = request.method == "GET" and "text/html" in request.headers.get("Accept", "")
        path, base = request.url.path, base_of(request)
        if wants_page and self.settings.accounts and self._identify is None:
            target = path + (f"?{request.url.query}" if request.url.query else "")
            response: Response[Any] = Response(b"", status_code=303, headers={"Location": f"{base}/login?next={quote(target)}"})
        else:
            response = problem(401, "log in, or send a token")
            response.headers["WWW-Authenticate"] = (
                'Basic realm="naq", charset="UTF-8"' if self.settings.accounts else 'Bearer realm="naq"'
            )
        return response.to_asgi_response(request=request, app=None)


def _options(request: Request[Any, Any, Any]) -> ASGIApp:
    """Say which methods there are. No other site is allowed to use any of them, so nothing more is said."""
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


def address_of(request: Request[Any, Any, Any]) -> str:
    """Return where a request comes from: behind a proxy, the proxy's address."""
    return request.client.host if request.client is not None else ""


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


def is_from_proxy(scope: Scope, settings: DashboardSettings) -> bool:
    """Whether the request comes from one of the proxies that may say who asks, and under which path."""
    client = scope.get("client")
    address = parse_address(client[0]) if client else None
    return address is not None and any(address in network for network in settings.trusted_proxies)


def is_here(scope: Scope) -> bool:
    """Whether a request comes from this machine: over loopback or a Unix socket."""
    client = scope.get("client")
    if not client or not client[0]:
        return True
    address = parse_address(client[0])
    return address is not None and address.is_loopback


def base_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return what goes before every path of the dashboard in a link."""
    return quote(connection.scope.get("root_path", ""))


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


def problem(status: int, detail: str, **more: Any) -> Response[Any]:
    """Return an answer in the form of RFC 9457.

    Args:
        more: Members besides those that every problem has.
    """
    body = {"type": "about:blank", "status": status, "title": HTTPStatus(status).phrase, "detail": detail} | more
    return Response(body, status_code=status, media_type="application/problem+json")
