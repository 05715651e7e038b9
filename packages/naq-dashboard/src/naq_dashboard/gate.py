"""What every request passes: the Host header, who asks, where an unsafe request comes from, and the headers of the answer."""

import asyncio
import base64
import binascii
import hmac
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from inspect import isawaitable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, TypeAlias
from urllib.parse import quote

from litestar.connection import ASGIConnection, Request
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.response import Response
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from naq_core.audit import Actor
from naq_dashboard.access import ADMIN, VIEWER, Action, Viewer
from naq_dashboard.audit import Audit
from naq_dashboard.passwords import Signer, password_matches
from naq_dashboard.settings import DashboardSettings

__all__ = [
    "COOKIE",
    "Gate",
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
MOST_FAILURES = 10
FAILURE_SECONDS = 60.0
REMEMBERED_LOGINS = 64
REMEMBERED_ADDRESSES = 1000

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


@dataclass(slots=True)
class _Guesses:
    """Wrong passwords from one address. One is checked at a time: many sent at once would all precede the first failure."""

    failed_at: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_FAILURES))
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def check(self, now: float) -> None:
        """Refuse another guess after too many.

        Raises:
            HTTPException: 429.
        """
        if len(self.failed_at) == MOST_FAILURES and now - self.failed_at[0] < FAILURE_SECONDS:
            raise HTTPException("too many wrong passwords: wait a minute", status_code=429)


class Gate(ASGIMiddleware):
    """Lets in what may come in."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, settings: DashboardSettings, signer: Signer, audit: Audit, identify: Identify | None = None) -> None:
        self.settings = settings
        self.signer = signer
        self.audit = audit
        self._identify = identify
        self._hosts = ("*",) if identify is not None and not settings.allowed_hosts else settings.hosts
        self._is_open_to_all = identify is not None or settings.is_open_to_all
        self._passwords = {each.name: each.password for each in settings.accounts}
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()

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
            if request.method not in SAFE_METHODS:
                check_origin(request)
            viewer = await self.identify(request)
        except HTTPException as error:
            log.warning("%s %r from %s refused: %s", request.method, request.scope["path"], address_of(request), error.detail)
            return problem(error.status_code, error.detail).to_asgi_response(request=request, app=None)
        if viewer is None and not public:
            return self._send_to_login(request)
        request.scope["state"][VIEWER_KEY] = viewer or NOBODY
        return None

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

    async def login(self, name: str, password: str, address: str) -> Viewer | None:
        """Check a name and a password.

        Args:
            address: Who guesses is slowed down by where they are: nobody is to be able to lock others out.

        Raises:
            HTTPException: 429, after too many wrong ones within a minute.
        """
        loop = asyncio.get_running_loop()
        guesses = self._guesses.setdefault(address, _Guesses())
        self._guesses.move_to_end(address)
        if len(self._guesses) > REMEMBERED_ADDRESSES:
            self._guesses.popitem(last=False)
        known = next((each for each in self.settings.accounts if each.name == name), None)
        stored = known or next(iter(self.settings.accounts), None)  # an unknown name takes as long as a known one
        async with guesses.turn:
            guesses.check(loop.time())
            if stored is not None and await asyncio.to_thread(password_matches, password, stored.password) and known is not None:
                return Viewer(known.name, known.access, "password")
            guesses.failed_at.append(loop.time())
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
        for name, known, access in (("token", self.settings.token, ADMIN), ("read-token", self.settings.read_token, VIEWER)):
            if known and hmac.compare_digest(token.encode(), known.encode()):
                return Viewer(name, access, "token")
        self.audit.refused(Actor("", "token"), "log-in", "", "wrong token", address)
        return None

    async def _by_basic(self, credentials: str, address: str) -> Viewer | None:
        """Check a Basic header; what was right once is remembered by its keyed digest, as a hash takes long."""
        mark = hmac.digest(self.settings.secret.encode(), credentials.encode(), "sha256")
        if (name := self._known.get(mark)) is not None:
            return self._account(name, "password")
        try:
            name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        viewer = await self.login(name, password, address)
        if viewer is not None:
            self._known[mark] = viewer.name
            if len(self._known) > REMEMBERED_LOGINS:
                self._known.popitem(last=False)
        return viewer

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
        raise PermissionDeniedException(f"Host {given!r} is not answered here; NAQ_DASHBOARD_ALLOWED_HOSTS lists the names")

    def _check_peer(self, request: Request[Any, Any, Any]) -> None:
        """Answer other machines only where that is wanted: under a server of its own choice we do not know where it listens."""
        if self._is_open_to_all or is_here(request.scope):
            return
        raise PermissionDeniedException(
            "other machines are not answered while nobody has to log in: set NAQ_DASHBOARD_PASSWORD or _ALLOWED_HOSTS"
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
    address = _parsed(client[0]) if client else None
    return address is not None and any(address in network for network in settings.trusted_proxies)


def is_here(scope: Scope) -> bool:
    """Whether a request comes from this machine: over loopback or a Unix socket."""
    client = scope.get("client")
    if not client or not client[0]:
        return True
    address = _parsed(client[0])
    return address is not None and address.is_loopback


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address; one of IPv4 as a server that listens on both writes it is one of IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


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
        raise PermissionDeniedException("this request has a cookie but does not say where it comes from")


async def check_action(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of every handler: an unsafe method needs an action that the viewer may do, and a browser's form its token.

    Raises:
        PermissionDeniedException: One of them is missing.
    """
    if connection.scope.get("method") in SAFE_METHODS or handler.opt.get("anybody"):
        return
    action: Action | None = handler.opt.get("action")
    viewer, board = viewer_of(connection), connection.app.state.naq_dashboard
    if action is not None:
        target = next((str(value) for value in connection.path_params.values()), "")
        board.audit.require(viewer, action, handler.opt.get("verb", str(action)), target)
    elif not handler.opt.get("checks_action"):
        raise PermissionDeniedException("no action is named for this: nobody may do it")
    await check_form_token(connection, viewer, board.signer)


async def check_form_token(connection: ASGIConnection[Any, Any, Any, Any], viewer: Viewer, signer: Signer) -> None:
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
        raise PermissionDeniedException("this page is too old, or not ours: load it again and repeat what you did")


def problem(status: int, detail: str, **more: Any) -> Response[Any]:
    """Return an answer in the form of RFC 9457.

    Args:
        more: Members besides those that every problem has.
    """
    body = {"type": "about:blank", "status": status, "title": HTTPStatus(status).phrase, "detail": detail} | more
    return Response(body, status_code=status, media_type="application/problem+json")
