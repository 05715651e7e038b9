"""Logging in at an identity provider: OpenID Connect's code flow with PKCE.

Needs Authlib (`pip install 'naq-dashboard[oidc]'`), which brings joserfc and is used with httpx2.
"""

import asyncio
import logging
import secrets
import time
from typing import Any, NamedTuple

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from naq_dashboard.access.passwords import SessionSigner
from naq_dashboard.settings import DashboardSettings

__all__ = ["IdentityError", "OidcProvider", "OidcUser"]

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds for an answer of the provider."""
FLOW_SECONDS = 600
"""How long somebody may take to log in there."""
LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""None of the symmetric ones: those would be signed with the client's secret."""
PURPOSE = "oidc"


class IdentityError(Exception):
    """Somebody could not be logged in; the text may be shown to them.

    Attributes:
        is_theirs: Whether the provider is at fault, and not who wants to log in.
    """

    def __init__(self, told: str, *, is_theirs: bool = False) -> None:
        super().__init__(told)
        self.is_theirs = is_theirs


class OidcUser(NamedTuple):
    """Who the provider says has logged in."""

    name: str
    groups: tuple[str, ...]


class _Flow(msgspec.Struct, frozen=True):
    """What has to come back; kept, signed, in a cookie of the browser that has begun."""

    state: str
    nonce: str
    verifier: str
    target: str
    until: float


class _Provider(NamedTuple):
    """What its discovery document says."""

    authorize: str
    token: str
    keys: str
    methods: list[str]


class OidcProvider:
    """The identity provider of the settings. Nothing is asked of it before somebody logs in."""

    def __init__(self, settings: DashboardSettings, signer: SessionSigner) -> None:
        self._settings = settings
        self._signer = signer
        self._lock = asyncio.Lock()
        self._found: _Provider | None = None
        self._keys: KeySet | None = None

    async def begin(self, redirect: str, target: str) -> tuple[str, str]:
        """Return the address to send somebody to, and what their browser has to keep meanwhile.

        Args:
            redirect: Where the provider sends them back to.
            target: The page that they want to see.

        Raises:
            IdentityError: The provider does not answer.
        """
        provider = await self._provider()
        flow = _Flow(
            secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), target, time.time() + FLOW_SECONDS
        )
        async with self._client(provider, redirect) as client:
            address, _ = client.create_authorization_url(
                provider.authorize, state=flow.state, nonce=flow.nonce, code_verifier=flow.verifier
            )
        return address, self._signer.seal(PURPOSE, msgspec.json.encode(flow))

    async def finish(self, redirect: str, kept: str, answer: dict[str, str]) -> tuple[OidcUser, str]:
        """Return who has logged in, and the page that they want to see.

        Args:
            redirect: As for `begin`.
            kept: What the browser has kept.
            answer: The parameters that the provider has sent along.

        Raises:
            IdentityError: This is no answer to what this browser has begun, or the provider refuses it.
        """
        flow = self._flow(kept)
        if flow is None or not secrets.compare_digest(answer.get("state", ""), flow.state):
            raise IdentityError("This login was not begun in this browser, or took too long. Try again.")
        if problem := answer.get("error"):
            raise IdentityError(f"The identity provider refuses: {(answer.get('error_description') or problem)[:200]}")
        provider = await self._provider()
        try:
            async with self._client(provider, redirect) as client:
                token = await client.fetch_token(provider.token, code=answer.get("code", ""), code_verifier=flow.verifier)
        except (httpx2.HTTPError, ValueError) as error:
            raise self._unreachable(error) from error
        except AuthlibBaseError as error:
            log.warning("the identity provider refused a code: %s", error)
            told = str(error.description or error.error)[:200]
            raise IdentityError(f"The identity provider refuses the login: {told}") from error
        claims = await self._claims(provider, str(token.get("id_token", "")), flow.nonce)
        return self._user(claims), flow.target

    def _flow(self, kept: str) -> _Flow | None:
        data = self._signer.unseal(PURPOSE, kept) if kept else None
        flow = None if data is None else msgspec.json.decode(data, type=_Flow)  # noqa: TID251 - signed by this program
        return flow if flow is not None and flow.until > time.time() else None

    def _client(self, provider: _Provider, redirect: str) -> Any:
        settings = self._settings
        is_basic = not provider.methods or "client_secret_basic" in provider.methods
        method = "none" if settings.oidc_client_secret is None else "client_secret_basic" if is_basic else "client_secret_post"
        return AsyncOAuth2Client(
            settings.oidc_client_id,
            settings.oidc_client_secret,
            token_endpoint_auth_method=method,
            scope=settings.oidc_scope,
            redirect_uri=redirect,
            code_challenge_method="S256",
            timeout=TIMEOUT,
        )

    async def _provider(self) -> _Provider:
        async with self._lock:
            if self._found is None:
                self._found = await self._discover()
        return self._found

    async def _discover(self) -> _Provider:
        issuer = self._settings.oidc_issuer
        found = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            told = f"The identity provider calls itself {str(found.get('issuer'))[:200]!r}, not {issuer!r}."
            raise IdentityError(told, is_theirs=True)
        try:
            methods = [str(each) for each in found.get("token_endpoint_auth_methods_supported", [])]
            return _Provider(found["authorization_endpoint"], found["token_endpoint"], found["jwks_uri"], methods)
        except (KeyError, TypeError) as error:
            raise IdentityError(f"The identity provider's configuration lacks {error}.", is_theirs=True) from error

    async def _claims(self, provider: _Provider, token: str, nonce: str) -> dict[str, Any]:
        """Return what the provider says of the user, after it is proven that it says it, to us, now."""
        settings = self._settings
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": settings.oidc_issuer},
            aud={"essential": True, "value": settings.oidc_client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
        )
        try:
            try:
                found = jwt.decode(token, await self._key_set(provider), algorithms=ALGORITHMS)
            except (JoseError, ValueError):  # it may have new keys
                found = jwt.decode(token, await self._key_set(provider, is_fresh=True), algorithms=ALGORITHMS)
            registry.validate(found.claims)
        except (JoseError, ValueError) as error:
            log.warning("the identity provider's token is not valid: %s", error)
            raise IdentityError("The identity provider's answer is not valid.") from error
        return dict(found.claims)

    async def _key_set(self, provider: _Provider, *, is_fresh: bool = False) -> KeySet:
        if self._keys is None or is_fresh:
            found: Any = await self._get(provider.keys)
            self._keys = KeySet.import_key_set(found)
        return self._keys

    def _user(self, claims: dict[str, Any]) -> OidcUser:
        settings = self._settings
        name = claims.get(settings.oidc_claim)
        if not isinstance(name, str) or not name.strip():
            raise IdentityError(f"The identity provider does not tell your {settings.oidc_claim}.")
        if settings.oidc_claim == "email" and claims.get("email_verified") is False:
            raise IdentityError("The identity provider has not verified your address.")
        groups = claims.get(settings.oidc_groups_claim, [])
        names = [str(each) for each in groups] if isinstance(groups, list) else [str(groups)]
        return OidcUser(name.strip(), tuple(each for each in names if f"group:{each}" in settings.oidc_roles))

    async def _get(self, address: str) -> dict[str, Any]:
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT) as client:
                answer = await client.get(address)
                answer.raise_for_status()
                found = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise self._unreachable(error) from error
        if not isinstance(found, dict):
            raise IdentityError("The identity provider's answer is not valid.", is_theirs=True)
        return found

    def _unreachable(self, error: Exception) -> IdentityError:
        log.warning("the identity provider %s does not answer: %r", self._settings.oidc_issuer, error)
        return IdentityError("The identity provider does not answer. Try again later.", is_theirs=True)
