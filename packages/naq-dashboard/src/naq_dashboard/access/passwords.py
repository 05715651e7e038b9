"""Passwords and their hashes."""

import hashlib
import hmac
import secrets

from naq_core.errors import ConfigurationError
from naq_dashboard.access.encoding import as_bytes, as_text

MARK = "scrypt$"
COST, BLOCK, LANES = 2**14, 8, 1


def hash_password(password: str) -> str:
    """Return `scrypt$<salt>$<hash>`; it holds no character that a list of users could trip over."""
    salt = secrets.token_bytes(16)
    return f"{MARK}{as_text(salt)}${as_text(_scrypt(password, salt))}"


def check_hash(name: str, stored: str) -> None:
    """Refuse a stored password that no password can match.

    Raises:
        ConfigurationError: It is empty, or a broken hash.
    """
    if not stored:
        raise ConfigurationError("password", f"of user {name!r} is empty")
    if stored.startswith(MARK):
        try:
            salt, digest = (as_bytes(part) for part in stored.removeprefix(MARK).split("$"))
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
    salt, digest = (as_bytes(part) for part in stored.removeprefix(MARK).split("$"))
    return hmac.compare_digest(_scrypt(given, salt), digest)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=LANES, dklen=32)
