"""What a browser keeps of a login."""

import secrets
import time
from typing import Literal

import msgspec

__all__ = ["BrowserSession", "new_session"]


class BrowserSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A login, as it is signed and kept in a cookie. What its user may do is not in it: that is looked up each time."""

    user: str
    until: float
    """Seconds since the epoch."""
    mark: str
    """Tells it from other sessions of the user; no secret."""
    by: Literal["password", "oidc"] = "password"
    groups: tuple[str, ...] = ()
    """Of a user of an identity provider, as far as a role is given to them."""


def new_session(
    user: str, seconds: float, by: Literal["password", "oidc"] = "password", groups: tuple[str, ...] = ()
) -> BrowserSession:
    """Return a session that begins now."""
    return BrowserSession(user=user, until=time.time() + seconds, mark=secrets.token_urlsafe(9), by=by, groups=groups)
