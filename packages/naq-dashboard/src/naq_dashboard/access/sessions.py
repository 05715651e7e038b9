"""Signed tokens that stand for a login, or for a page that we made."""

import hmac
import time
from collections.abc import Mapping

from naq_dashboard.access.encoding import as_bytes, as_text

__all__ = ["SessionSigner"]

FORM_HOURS = 12


class SessionSigner:
    """Signs and verifies tokens. Anyone who knows the secret can make them."""

    def __init__(self, secret: str) -> None:
        self._key = secret.encode()

    def session(self, user: str, password: str, seconds: float) -> str:
        """Return what a browser keeps to stay logged in.

        Args:
            password: The stored password: changing it ends the sessions of that user.
        """
        return self._sign(f"session {password}", f"{int(time.time() + seconds)}.{as_text(user.encode())}")

    def session_user(self, word: str, passwords: Mapping[str, str]) -> str | None:
        """Return the user of a session that has not ended, else None.

        Args:
            passwords: As they are stored now, by user.
        """
        payload, _, _ = word.rpartition(".")
        until, _, user = payload.partition(".")
        try:
            name = as_bytes(user).decode()
        except ValueError:
            return None
        password = passwords.get(name)
        if password is None or not hmac.compare_digest(self._sign(f"session {password}", payload).encode(), word.encode()):
            return None
        return name if int(until) > time.time() else None

    def form_token(self, user: str) -> str:
        """Return what proves that a form came from a page we gave to this user within the last half day or day."""
        return self._sign("form", f"{_half_day()}.{as_text(user.encode())}").rpartition(".")[2]

    def is_form_token(self, user: str, token: str) -> bool:
        """Whether `form_token` made it, for that user, not long ago."""
        name = as_text(user.encode())
        words = (self._sign("form", f"{_half_day() - age}.{name}").rpartition(".")[2] for age in (0, 1))
        return any(hmac.compare_digest(token.encode(), word.encode()) for word in words)

    def _sign(self, purpose: str, payload: str) -> str:
        digest = hmac.digest(self._key, f"naq-dashboard {purpose} {payload}".encode(), "sha256")
        return f"{payload}.{as_text(digest)}"


def _half_day() -> int:
    return int(time.time() // (FORM_HOURS * 3600))
