"""The room of a key: how many of its jobs may have a place, and how soon, by its limit and its rate.

Why: `docs/adr/0054-keys.md` and `docs/adr/0057-rates.md`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from naq_core.queue_policy import QueuePolicy
from naq_core.rates import Bucket, Rate
from naq_core.storage.keys import KeyPlaces, token_of_key
from naq_core.storage.subjects import ALL

LATE = 0.4
"""Seconds after which the server's bell rings if no worker has acted. A bell of the server comes 250 ms after it is stored at the
earliest, and each worker that knows of the time acts on it by itself."""
KEPT = 0.8
"""A stored bell is kept while it is at most so many seconds later than the time it is for."""
MANY = 1_000_000
SOON = 1e-3
"""Seconds: a difference of times that does not matter."""


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What the policy of a queue says of one of its keys."""

    limit: int | None = 1
    """How many of its jobs have a place; None: only those that were promised a token have one, until they start."""
    rate: Rate | None = None


class KeyRules:
    """What a queue's policy says of its keys, by their tokens."""

    def __init__(self, policy: QueuePolicy) -> None:
        rate, key_rate = policy.rates
        self._any = KeyRule(policy.key_limit, key_rate)
        self._some = {token_of_key(key): KeyRule(policy.key_limit * weight, key_rate) for key, weight in policy.weights.items()}
        self._some[ALL] = KeyRule(None, rate)

    def of(self, token: str) -> KeyRule:
        """Return the rule of a key."""
        return self._some.get(token, self._any)


class Room:
    """One version of a list of places while it becomes the next.

    Args:
        places: As stored.
        taken: The jobs of it that still need their place.
        low: The earliest time that it may be, by the server's clock.
        high: The latest one.
    """

    def __init__(self, places: KeyPlaces, rule: KeyRule, taken: Mapping[str, str], low: float, high: float) -> None:
        self._places, self._rule, self._low, self._high = places, rule, low, high
        self.taken = dict(taken)
        if rule.rate is None:
            self._bucket = None
            if rule.limit is None:
                self.taken = {}
        else:
            promised = [job_id for job_id in places.promised if job_id in taken]
            self._bucket = Bucket(rule.rate, places.full_at, promised, low, high)

    @property
    def has_place(self) -> bool:
        """Whether the limit leaves room."""
        return self._rule.limit is None or len(self.taken) < self._rule.limit

    @property
    def free(self) -> int:
        """How many more jobs may become ready."""
        limit = self._rule.limit
        left = MANY if limit is None else limit - len(self.taken)
        return max(0, left if self._bucket is None else min(left, self._bucket.free))

    def admit(self, job_id: str, run: str) -> None:
        """Give a job a place that is about to become ready."""
        if self._bucket is not None:
            self._bucket.promised.add(job_id)
        elif self._rule.limit is None:
            return
        self.taken[job_id] = run

    def begin(self, job_id: str, run: str) -> float:
        """Take a token for a job that is about to start; return the seconds after which to ask again, 0: it may start."""
        bucket = self._bucket
        if bucket is None:
            return 0.0
        is_promised = job_id in bucket.promised and self.taken.get(job_id) == run
        if not is_promised:
            bucket.promised.discard(job_id)
        # Without a limit nobody has a place who could go first: who was not promised a token joins those that wait.
        may = is_promised or self._rule.limit is not None or not self._places.bell_at
        if not (may and bucket.take(job_id)):
            at = bucket.next_at
            return max(SOON, (bucket.rate.interval if at == math.inf else at - self._low))
        if self._rule.limit is None:
            self.taken.pop(job_id, None)
        return 0.0

    @property
    def next_at(self) -> float:
        """When one more may become ready as far as the rate goes, if the limit leaves room; 0: now; infinite: when one starts."""
        return self._bucket.next_at if self._bucket is not None and self.has_place else 0.0

    @property
    def wake_at(self) -> float:
        """When to look again; 0: no time brings a start."""
        at = self.next_at
        return 0.0 if at == math.inf else at

    @property
    def has_to_ring(self) -> bool:
        """Whether a bell is to be stored with the list: none is, or not for a useful time."""
        at, bell_at = self.next_at, self._places.bell_at
        if at in {0.0, math.inf}:
            return False
        return not (self._high < bell_at < math.inf and at <= bell_at <= at + KEPT)

    @property
    def is_known_to_wait(self) -> bool:
        """Whether the list as stored says already that no more can start, and a bell will come when that changes."""
        at = self.next_at
        return self._places.bell_at == math.inf if at == math.inf else at > 0 and not self.has_to_ring

    def stored(self, *, has_levels: bool) -> KeyPlaces:
        """Return the list as it is to be stored."""
        at = self.next_at
        bell_at = self._places.bell_at if 0 < at < math.inf and not self.has_to_ring else at
        if self.has_to_ring:
            bell_at = at + LATE
        full_at, promised = (0.0, ()) if self._bucket is None else (self._bucket.full_at, tuple(sorted(self._bucket.promised)))
        return KeyPlaces(self.taken, "", self._rule.limit or 0, has_levels, full_at, promised, bell_at)

    def is_changed(self, new: KeyPlaces, *, is_absent: bool) -> bool:
        """Whether the list differs from the stored one. Its writer does not count, nor does the limit if no list is stored."""
        limit = new.limit if is_absent else self._places.limit
        return msgspec.structs.replace(self._places, written_by=new.written_by, limit=limit) != new
