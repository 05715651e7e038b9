"""Secrets that show who somebody is: passwords, and signed tokens for a login or for a page that we made."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

import msgspec

from naq_core.errors import ConfigurationError
from naq_dashboard.access.sessions import BrowserSession

__all__ = ["SessionSigner", "check_hash", "hash_password", "password_matches"]

MARK = "scrypt$"
COST, BLOCK, LANES = 2**14, 8, 1
FORM_HOURS = 12
_session_decoder = msgspec.json.Decoder(BrowserSession)  # noqa: TID251 - read before its signature is known to be ours


def hash_password(password: str) -> str:
    """Return `scrypt$<salt>$<hash>`; it holds no character that a list of users could trip over."""
    salt = secrets.token_bytes(16)
    return f"{MARK}{_text(salt)}${_text(_scrypt(password, salt))}"


def check_hash(name: str, stored: str) -> None:
    """Refuse a stored password that no password can match.

    Raises:
        ConfigurationError: It is empty, or a broken hash.
    """
    if not stored:
        raise ConfigurationError("password", f"of user {name!r} is empty")
    if stored.startswith(MARK):
        try:
            salt, digest = (_bytes(part) for part in stored.removeprefix(MARK).split("$"))
        except ValueError as error:
            raise ConfigurationError(
                "password", f"of user {name!r} is not a hash made by `naq dashboard --hash-password`"
            ) from error
        if not salt or not digest:
            raise ConfigurationError("password", f"of user {name!r} is an incomplete hash")


def password_matches(given: str, stored: str) -> bool:
    """Compare in constant time. With a hash it takes some 50 ms of a CPU: call it in a thread."""
    if not stored.startswith(MARK):
        return hmac.compare_digest(given.encode(), stored.encode())
    salt, digest = (_bytes(part) for part in stored.removeprefix(MARK).split("$"))
    return hmac.compare_digest(_scrypt(given, salt), digest)


class SessionSigner:
    """Signs and verifies tokens. Anyone who knows the secret can make them."""

    def __init__(self, secret: str) -> None:
        self._key = secret.encode()

    def session(self, session: BrowserSession, proof: str) -> str:
        """Return what a browser keeps to stay logged in.

        Args:
            proof: What the session rests on, such as the stored password: changing it ends the sessions of that user.
        """
        return self._sign(f"session {proof}", _text(msgspec.json.encode(session)))

    def session_of(self, token: str, proof_of: Callable[[BrowserSession], str | None]) -> BrowserSession | None:
        """Return a session that is not over by itself, else None.

        Args:
            proof_of: What a session must rest on now; None where its user does not exist any more.
        """
        payload, _, _ = token.rpartition(".")
        try:
            session = _session_decoder.decode(_bytes(payload))
        except (ValueError, msgspec.MsgspecError):
            return None
        proof = proof_of(session)
        if proof is None or not hmac.compare_digest(self._sign(f"session {proof}", payload).encode(), token.encode()):
            return None
        return session if session.until > time.time() else None

    def seal(self, purpose: str, payload: bytes) -> str:
        """Return a payload with a signature, for a cookie of one purpose; it is not encrypted."""
        return self._sign(f"sealed {purpose}", _text(payload))

    def unseal(self, purpose: str, token: str) -> bytes | None:
        """Return what `seal` was given for that purpose, None if it has not made the token."""
        payload = token.rpartition(".")[0]
        if not hmac.compare_digest(self._sign(f"sealed {purpose}", payload).encode(), token.encode()):
            return None
        return _bytes(payload)

    def form_token(self, user: str) -> str:
        """Return what proves that a form came from a page we gave to this user within the last half day or day."""
        return self._sign("form", f"{_half_day()}.{_text(user.encode())}").rpartition(".")[2]

    def is_form_token(self, user: str, token: str) -> bool:
        """Whether `form_token` made it, for that user, not long ago."""
        name = _text(user.encode())
        valid = (self._sign("form", f"{_half_day() - age}.{name}").rpartition(".")[2] for age in (0, 1))
        return any(hmac.compare_digest(token.encode(), each.encode()) for each in valid)

    def _sign(self, purpose: str, payload: str) -> str:
        digest = hmac.digest(self._key, f"naq-dashboard {purpose} {payload}".encode(), "sha256")
        return f"{payload}.{_text(digest)}"


def _half_day() -> int:
    return int(time.time() // (FORM_HOURS * 3600))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=LANES, dklen=32)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
