"""What a producer knows of keys: that jobs which wait for them need no bell while a list stays as it is."""

import time

MOST = 10_000
"""Keys that are remembered."""
FOR = 60.0
FOR_ABSENT = 10.0
"""Seconds for which the absence of a list is relied on: it can be absent again once a list has expired, which takes minutes."""

RungKey = tuple[str, str, str]
"""Queue, token and priority."""


class Rung:
    """The state of the lists at which a bell was stored, or which were full (`docs/adr/0054-keys.md`)."""

    def __init__(self) -> None:
        self._known: dict[RungKey, tuple[int | None, float]] = {}

    def note(self, key: RungKey, revision: int | None) -> None:
        """Note the list's sequence, 0 without one; None: a bell was stored without a look at the list."""
        self._known.pop(key, None)
        self._known[key] = revision, time.monotonic() + (FOR if revision else FOR_ABSENT)
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def of(self, key: RungKey) -> int | None:
        """Return the sequence at which no bell is needed."""
        revision, until = self._known.get(key, (None, 0.0))
        return revision if time.monotonic() < until else None

    def is_busy(self, key: RungKey) -> bool:
        """Whether a bell was stored for it a moment ago: then a look at its list is worth it."""
        return time.monotonic() < self._known.get(key, (None, 0.0))[1]

    def forget(self, key: RungKey) -> None:
        """The list has changed."""
        self._known.pop(key, None)
