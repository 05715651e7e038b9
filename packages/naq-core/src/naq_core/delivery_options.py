"""When a job may start, until when, and which others it excludes: the options beside how it is run."""

import hashlib
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from naq_core.errors import InvalidOptionError

Chosen: TypeAlias = Sequence[str] | str | Callable[..., Any]
"""Names of arguments, or a function that is called with the job's arguments and returns what tells them apart."""
UNIQUE = "unique="
"""What the id of a job with a key begins with."""
_READABLE = re.compile(r"[A-Za-z0-9_=-]{1,100}")


class Clash(StrEnum):
    """What to do where a job of the same `unique` key is queued, held or running."""

    REFUSE = "refuse"
    """Raise `DuplicateJobError`."""
    RETURN = "return"
    """Return that job; `Job.is_new` is False."""
    REPLACE = "replace"
    """Take its place if it waits; if it runs, refuse."""


class DeliveryOptions(NamedTuple):
    """Checked delivery options of a job. Relative times count from its enqueue."""

    at: float = 0.0
    """When it is due, seconds since the epoch; 0: at once."""
    delay: float = 0.0
    expires_at: float = 0.0
    expires_in: float = 0.0
    unique: str = ""
    on_clash: Clash = Clash.REFUSE
    debounce: float = 0.0
    unique_by: tuple[str, ...] | Callable[..., Any] | None = None
    """What the key is made of; a job has the key instead."""
    unique_for: float = 0.0

    def due(self, enqueued_at: float) -> float:
        """Return when the job is to become ready; 0 for at once."""
        delay = self.delay or self.debounce
        return enqueued_at + delay if delay else self.at

    def expiry(self, enqueued_at: float) -> float:
        """Return after when the job is not to be started any more; 0 for never.

        Raises:
            InvalidOptionError: It would have expired before it is due.
        """
        expires = enqueued_at + self.expires_in if self.expires_in else self.expires_at
        if expires and expires <= max(self.due(enqueued_at), enqueued_at if self.expires_in else 0.0):
            raise InvalidOptionError("expires", "the job would expire before it is due: it would never run")
        return expires

    def check(self) -> None:
        """Refuse what could never run, as far as that is known before the enqueue, whose time is the server's.

        Raises:
            InvalidOptionError: It would have expired before it is due.
        """
        if not (self.at and self.expires_in):
            self.expiry(0.0)

    @property
    def job_id(self) -> str | None:
        """The id that a unique key stands for; None without one."""
        return unique_id(self.unique) if self.unique else None


NO_DELIVERY_OPTIONS = DeliveryOptions()


def unique_id(key: str) -> str:
    """Return the job id of a unique key: readable where its characters allow, else a digest."""
    if _READABLE.fullmatch(key):
        return f"{UNIQUE}{key}"
    return f"{UNIQUE}={hashlib.blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=20).hexdigest()}"
