"""Who asks: by password, token, the header of a trusted proxy, or the session of an earlier login."""

import asyncio
import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from litestar.connection import ASGIConnection, Request
from litestar.exceptions import HTTPException

from naq_core.audit import Actor
from naq_core.errors import ConfigurationError
from naq_dashboard.access.passwords import SessionSigner, password_matches
from naq_dashboard.access.roles import ADMIN, VIEWER, Viewer
from naq_dashboard.access.sessions import BrowserSession
from naq_dashboard.actions.audit import Audit
from naq_dashboard.guard.ended import EndedSessions
from naq_dashboard.guard.guesses import Guesses, Tries
from naq_dashboard.guard.peers import address_of, is_from_proxy
from naq_dashboard.settings import PREFIX, DashboardSettings

if TYPE_CHECKING:
    from naq_dashboard.guard.oidc import OidcProvider

__all__ = ["COOKIE", "Identify", "Login"]

COOKIE = "naq_dashboard_session"
TOKEN_PAUSE = 1.0
"""Seconds. A token is long and random: a guess a second finds none, and one wrong program does not keep the others out."""
REMEMBERED_LOGINS = 64

Identify: TypeAlias = Callable[[ASGIConnection[Any, Any, Any, Any]], Viewer | Awaitable[Viewer | None] | None]
"""How an embedding application says who asks; None sends them away."""


class Login:
    """Finds out who asks.

    Args:
        identify: How an embedding application says it; passwords, tokens, proxies and sessions are then not looked at.
    """

    def __init__(
        self,
        settings: DashboardSettings,
        signer: SessionSigner,
        audit: Audit,
        ended: EndedSessions,
        identify: Identify | None = None,
    ) -> None:
        self._settings = settings
        self._signer = signer
        self._audit = audit
        self._identify = identify
        self._passwords = {each.name: each.password for each in settings.accounts}
        self.ended = ended
        self.provider = _provider(settings, signer) if identify is None else None
        """Where people log in besides here."""
        self._known: OrderedDict[bytes, Viewer] = OrderedDict()
        """Users by a keyed digest of correct credentials and the address that they came from."""
        self._passwords_tried, self._tokens_tried = Guesses("password"), Guesses("token", TOKEN_PAUSE)

    @property
    def has_form(self) -> bool:
        """Whether people can log in on a page."""
        return bool(self._settings.accounts or self._settings.oidc_issuer) and self._identify is None

    async def identify(self, request: Request[Any, Any, Any]) -> Viewer | None:
        """Find out who asks; None where they would have to log in."""
        if self._identify is None:
            return await self._recognise(request)
        answer = self._identify(request)
        return await answer if isawaitable(answer) else answer

    async def check_password(self, name: str, password: str, address: str) -> Viewer | None:
        """Check a name and a password.

        Args:
            address: Where the request comes from: guesses are limited by address, so that nobody can lock others out.

        Raises:
            HTTPException: 429, after too many wrong ones within a minute, with the seconds to wait in `Retry-After`.
        """
        tries = self._passwords_tried.of(address)
        known = next((each for each in self._settings.accounts if each.name == name), None)
        stored = known or next(iter(self._settings.accounts), None)  # an unknown name takes as long as a known one
        async with tries.turn:
            self._check(tries, "password", address)
            if stored is not None and await asyncio.to_thread(password_matches, password, stored.password) and known is not None:
                return Viewer(known.name, known.access, "password")
            tries.failed()
        # A name that nobody has may be a password, typed into the wrong field.
        told = "wrong password" if known is not None else "no such name"
        self._audit.refused(Actor("" if known is None else known.name, "password"), "log-in", "", told, address)
        return None

    def session(self, session: BrowserSession) -> str:
        """Return what the browser of somebody who has logged in keeps."""
        return self._signer.session(session, self._proof(session) or "")

    def read_session(self, request: Request[Any, Any, Any]) -> BrowserSession | None:
        """Return the session of a request that is not over by itself."""
        word = request.cookies.get(COOKIE)
        return self._signer.session_of(word, self._proof) if word else None

    def _proof(self, session: BrowserSession) -> str | None:
        """Return what a session rests on: a changed password, or another provider, ends it."""
        if session.by == "oidc":
            return f"{self._settings.oidc_issuer} {self._settings.oidc_client_id}" if self._settings.oidc_issuer else None
        return self._passwords.get(session.user)

    async def _recognise(self, request: Request[Any, Any, Any]) -> Viewer | None:
        settings = self._settings
        if not settings.needs_login:
            return Viewer("", ADMIN)
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        match scheme.lower():
            case "bearer":
                return self._by_token(credentials.strip(), address_of(request))
            case "basic":
                return await self._by_basic(credentials.strip(), address_of(request))
            case _:
                return self._by_proxy(request) or await self._by_session(request)

    def _by_token(self, token: str, address: str) -> Viewer | None:
        mark = self._mark("bearer", address, token)
        if (viewer := self._known.get(mark)) is not None:
            return viewer
        tries = self._tokens_tried.of(address)
        self._check(tries, "token", address)
        for name, known, access in (("token", self._settings.token, ADMIN), ("read-token", self._settings.read_token, VIEWER)):
            if known and hmac.compare_digest(token.encode(), known.encode()):
                return self._remembered(mark, Viewer(name, access, "token"))
        tries.failed()
        self._audit.refused(Actor("", "token"), "log-in", "", "wrong token", address)
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
        viewer = await self.check_password(name, password, address)
        return None if viewer is None else self._remembered(mark, viewer)

    def _mark(self, *parts: str) -> bytes:
        return hmac.digest(self._settings.secret.encode(), "\0".join(parts).encode(), "sha256")

    def _remembered(self, mark: bytes, viewer: Viewer) -> Viewer:
        """Remember correct credentials: wrong ones from the same address do not block them."""
        self._known[mark] = viewer
        if len(self._known) > REMEMBERED_LOGINS:
            self._known.popitem(last=False)
        return viewer

    def _check(self, tries: Tries, what: str, address: str) -> None:
        """Refuse to check another guess after too many.

        Raises:
            HTTPException: 429.
        """
        try:
            tries.check()
        except HTTPException:
            self._audit.refused(Actor("", what), "log-in", "", f"too many wrong {what}s", address)
            raise

    def _by_proxy(self, request: Request[Any, Any, Any]) -> Viewer | None:
        settings = self._settings
        names = request.headers.getall(settings.user_header, []) if settings.user_header else []
        if len(names) != 1 or not names[0] or not is_from_proxy(request.scope, settings):
            return None  # of two names one is not the proxy's
        name = names[0]
        return Viewer(name, settings.access_of_proxy_user(name), "proxy")

    async def _by_session(self, request: Request[Any, Any, Any]) -> Viewer | None:
        session = self.read_session(request)
        if session is None or await self.ended.has(session):
            return None
        if session.by == "oidc":
            access = self._settings.access_of_oidc_user(session.user, session.groups)
            return None if access is None else Viewer(session.user, access, "session")
        return self._account(session.user, "session")

    def _account(self, name: str, by: str) -> Viewer | None:
        """Return an account as it is now: rights are not kept in the cookie."""
        return next((Viewer(each.name, each.access, by) for each in self._settings.accounts if each.name == name), None)


def _provider(settings: DashboardSettings, signer: SessionSigner) -> "OidcProvider | None":
    if not settings.oidc_issuer:
        return None
    try:
        from naq_dashboard.guard.oidc import OidcProvider  # noqa: PLC0415 - an extra
    except ImportError as error:
        told = f"needs Authlib and httpx2: pip install 'naq-dashboard[oidc]' ({error})"
        raise ConfigurationError("oidc_issuer", told, f"{PREFIX}OIDC_ISSUER") from error
    return OidcProvider(settings, signer)
