"""Rates: how many jobs may start in a time, as a token bucket that several writers share (`docs/adr/0057-rates.md`)."""

import math
import re
from collections.abc import Collection

import msgspec

from naq_core.errors import InvalidOptionError, shown
from naq_core.values import exact_text, whole

UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
MOST_PER_SECOND = 10_000
MOST_BURST = 10_000
GRAIN = 0.1
"""Seconds: a burst of so many jobs as come in them makes up for starts that are late by as much."""
MOST_PROMISED = 500
"""Tokens that are kept for jobs that were made ready and have not started: their ids are part of one document."""
BACK = 1.0
"""Seconds: more than the bounds of one client's time can differ from another's."""
_ROUNDING = 1e-3
"""What a token may lack, as times are rounded."""
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*/\s*([a-z]+)")


class Rate(msgspec.Struct, frozen=True):
    """How many jobs may start in a time."""

    per_second: float
    burst: int
    """How many may start at once, after a time in which none did."""

    @property
    def interval(self) -> float:
        """Seconds from one token to the next."""
        return 1 / self.per_second


def per_second(text: object, name: str) -> float:
    """Return a rate such as `10/s`, `100/min` or `5000/h` in jobs per second.

    Raises:
        InvalidOptionError: The text has another form, or is less than one a day or more than 10,000 a second.
    """
    found = _RATE.fullmatch((exact_text(text) or "").strip().lower())
    if found is None or found[2] not in UNITS:
        raise InvalidOptionError(name, f"{shown(text)} cannot be a rate: use a number and a unit, such as 10/s or 100/min")
    rate = float(found[1]) / UNITS[found[2]]
    if not 1 / UNITS["d"] <= rate <= MOST_PER_SECOND:
        raise InvalidOptionError(name, f"{shown(text)} is out of range: use from 1/d to {MOST_PER_SECOND}/s")
    return rate


def make_rate(text: str | None, burst: int | None, name: str = "rate", burst_name: str = "burst") -> Rate | None:
    """Return a rate, None without a text.

    Args:
        burst: By default 1 up to a rate of one a second, else one more than 100 ms bring: what starts a little late is made up.
        name: Of the rate, for errors.
        burst_name: Of the burst, for errors.

    Raises:
        InvalidOptionError: The rate or the burst is wrong, or there is a burst without a rate.
    """
    if burst is not None:
        burst = whole(burst, burst_name, 1, MOST_BURST)
    if text is None:
        if burst is not None:
            raise InvalidOptionError(burst_name, f"needs a {name}")
        return None
    rate = per_second(text, name)
    if burst is None:
        burst = 1 if rate <= 1 else 1 + math.ceil(rate * GRAIN)
    return Rate(rate, burst)


class Bucket:
    """The tokens of a rate. Times are the server's, in seconds since the epoch; two bounds, as no client knows it exactly.

    What is there is reckoned by the earliest time that it may be, and what is taken by the latest one. So jobs never start faster
    than the rate, whatever the bounds are, as long as they are true.

    Args:
        full_at: When the bucket is full again, as stored.
        promised: Ids of jobs that were made ready, and take their token when they start.
    """

    __slots__ = ("_high", "_low", "full_at", "promised", "rate")

    def __init__(self, rate: Rate, full_at: float, promised: Collection[str], low: float, high: float) -> None:
        self.rate = rate
        self.promised = set(promised)
        self._low, self._high = low, max(low, high)
        empty_now = self._high + rate.burst * rate.interval
        # Where the rate was lower before, or the server's clock was set back, the bucket is empty, and no more than that.
        self.full_at = empty_now if full_at > empty_now + BACK else full_at

    @property
    def free(self) -> int:
        """How many tokens are there that no job was promised."""
        rate = self.rate
        missing = max(0.0, self.full_at - self._low) * rate.per_second
        tokens = math.floor(rate.burst - missing + _ROUNDING)
        return max(0, min(tokens, MOST_PROMISED) - len(self.promised))

    @property
    def next_at(self) -> float:
        """When there is one more; 0: now; infinite: when a job starts that was promised its token."""
        if self.free:
            return 0.0
        rate, wanted = self.rate, len(self.promised) + 1
        if wanted > min(rate.burst, MOST_PROMISED):
            return math.inf
        return self.full_at - (rate.burst - wanted) * rate.interval

    def take(self, job_id: str) -> bool:
        """Take a token for a job that is about to start; return whether there is one."""
        if job_id not in self.promised and not self.free:
            return False
        self.promised.discard(job_id)
        self.full_at = max(self.full_at, self._high) + self.rate.interval
        return True
