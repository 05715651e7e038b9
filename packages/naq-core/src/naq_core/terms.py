"""When a job may start, until when, and which others it excludes: the options beside how it is run."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from naq_core.errors import ConfigurationError, shown
from naq_core.retry import Delay
from naq_core.values import aware, exact_text, seconds

Expiry: TypeAlias = float | timedelta | datetime
"""Seconds (or a `timedelta`) from the enqueue on, or an aware time."""

LATEST = datetime(2199, 1, 1, tzinfo=UTC)
LONGEST_KEY = 512
_READABLE = re.compile(r"[A-Za-z0-9_=-]{1,100}")


class Clash(StrEnum):
    """What to do where a job of the same `unique` key is queued, held or running."""

    REFUSE = "refuse"
    """Raise `DuplicateJobError`."""
    RETURN = "return"
    """Return that job; `Job.is_new` is False."""
    REPLACE = "replace"
    """Take its place if it waits; if it runs, refuse."""


class Terms(NamedTuple):
    """Checked terms of a job. Relative times count from its enqueue."""

    at: float = 0.0
    """When it is due, seconds since the epoch; 0: at once."""
    delay: float = 0.0
    expires_at: float = 0.0
    expires_in: float = 0.0
    unique: str = ""
    on_clash: Clash = Clash.REFUSE
    debounce: float = 0.0

    def due(self, enqueued_at: float) -> float:
        """Return when the job is to become ready; 0 for at once."""
        delay = self.delay or self.debounce
        return enqueued_at + delay if delay else self.at

    def expiry(self, enqueued_at: float) -> float:
        """Return after when the job is not to be started any more; 0 for never.

        Raises:
            ConfigurationError: It would have expired before it is due.
        """
        expires = enqueued_at + self.expires_in if self.expires_in else self.expires_at
        if expires and expires <= max(self.due(enqueued_at), enqueued_at if self.expires_in else 0.0):
            raise ConfigurationError("expires", "the job would expire before it is due: it would never run")
        return expires

    def check(self) -> None:
        """Refuse what could never run, as far as that is known before the enqueue, whose time is the server's.

        Raises:
            ConfigurationError: It would have expired before it is due.
        """
        if not (self.at and self.expires_in):
            self.expiry(0.0)

    @property
    def job_id(self) -> str | None:
        """The id that a unique key stands for; None without one."""
        return unique_id(self.unique) if self.unique else None


NO_TERMS = Terms()


TERM_NAMES = ("at", "delay", "expires", "unique", "on_clash", "debounce")


def make_terms(
    *,
    at: datetime | None = None,
    delay: Delay | None = None,
    expires: Expiry | None = None,
    unique: str | None = None,
    on_clash: str = Clash.REFUSE,
    debounce: Delay | None = None,
    job_id: str | None = None,
) -> Terms:
    """Check and bundle the terms of a job; `Queue.options` documents each.

    Raises:
        ConfigurationError: A value has the wrong type or range, or two contradict each other; names it.
    """
    if at is not None and delay is not None:
        raise ConfigurationError("at", "cannot be combined with delay")
    if debounce is not None and (at is not None or delay is not None or on_clash != Clash.REFUSE):
        raise ConfigurationError("debounce", "sets the due time and what to replace: remove at, delay and on_clash")
    if unique is None and (debounce is not None or on_clash != Clash.REFUSE):
        name = "debounce" if debounce is not None else "on_clash"
        raise ConfigurationError(name, "requires a key: add unique=…")
    if unique is not None and job_id is not None:
        raise ConfigurationError("unique", "cannot be combined with job_id, because the key determines the id")
    clash = exact_text(on_clash)
    if clash not in tuple(Clash):
        raise ConfigurationError("on_clash", f"{shown(on_clash)} is not one of {', '.join(Clash)}")
    if debounce is not None and seconds(debounce, "debounce") == 0:
        raise ConfigurationError("debounce", "must be longer than 0 seconds")
    terms = Terms(
        at=0.0 if at is None else instant(at, "at"),
        delay=0.0 if delay is None else seconds(delay, "delay"),
        unique="" if unique is None else _check_key(unique),
        on_clash=Clash(clash),
        debounce=0.0 if debounce is None else seconds(debounce, "debounce"),
        **_expiry(expires),
    )
    terms.check()
    return NO_TERMS if terms == NO_TERMS else terms


def _expiry(expires: Expiry | None) -> dict[str, Any]:
    if expires is None:
        return {}
    if isinstance(expires, datetime):
        at = instant(expires, "expires")
        if at <= 0:  # 0 means never
            raise ConfigurationError("expires", f"{expires.isoformat()} is long past: the job would never run")
        return {"expires_at": at}
    if seconds(expires, "expires") == 0:
        raise ConfigurationError("expires", "must be longer than 0 seconds, or the job would never run")
    return {"expires_in": seconds(expires, "expires")}


def instant(when: datetime, name: str) -> float:
    """Return an aware time as seconds since the epoch.

    Raises:
        ConfigurationError: It is not a datetime, is naive (ambiguous time zone), or is after 2198.
    """
    moment = aware(when, name)
    if moment >= LATEST:
        raise ConfigurationError(name, f"{moment.isoformat()} is too far ahead: give a time before {LATEST.year}")
    return moment.timestamp()


def _check_key(unique: object) -> str:
    key = exact_text(unique)
    if key is None or not 0 < len(key) <= LONGEST_KEY:
        raise ConfigurationError("unique", f"{shown(unique)} is not a valid key: use text of 1 to {LONGEST_KEY} characters")
    return key


def unique_id(key: str) -> str:
    """Return the job id of a unique key: readable where its characters allow, else a digest."""
    if _READABLE.fullmatch(key):
        return f"unique={key}"
    return f"unique=={hashlib.blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=20).hexdigest()}"
