"""The server's time, as a client knows it: measured by the stamps in the server's answers, kept on a clock that cannot be set.

All times that are stored or compared with stored ones are of this clock (`docs/adr/0035-the-servers-clock.md`).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

from naq_core.errors import BrokerError
from naq_core.platforms import boottime
from naq_core.transport.errors import CLIENT_ERRORS

if TYPE_CHECKING:
    from naq_core.transport.client import QuickClient
    from naq_core.transport.denials import Denials

log = logging.getLogger("naq_core.connection")

WARN_SECONDS = 2.0
"""A machine's clock that differs by more from the server's is worth a warning."""
MOST_SKEW = 30.0
"""Seconds by which a scheduler's own clock may differ from the server's; beyond that it does not lead."""
DRIFT = 0.0005
"""Seconds a second by which two clocks may drift apart: NTP corrects no faster."""
PATIENCE = 1.0
"""Seconds to wait for an answer: a stream without a leader does not answer."""
TRIES = 3
CONTENT = 0.02
"""Seconds of uncertainty with which a measurement is content."""
HOLD = 1.0
"""A correction backwards up to so many seconds is waited out, so that later stamps are not smaller than earlier ones."""


class Answer(Protocol):
    """A message whose body is JSON with the server's time under `ts`."""

    data: bytes


class ServerClock:
    """The time of the server that a connection talks to; of this machine until the first answer."""

    def __init__(self) -> None:
        self._offset = 0.0
        """Server's time less boot time."""
        self._error = 0.0
        self._measured_at = 0.0
        self._latest = 0.0
        self._warned = False
        self.is_known = False
        """Whether the server's time has been measured."""

    def now(self) -> float:
        """Return the server's time in seconds since the epoch. Callable from any thread."""
        now = boottime() + self._offset if self.is_known else time.time()
        if 0 < self._latest - now < HOLD:
            return self._latest
        self._latest = now
        return now

    def utc(self) -> datetime:
        """Return the server's time as an aware datetime."""
        return datetime.fromtimestamp(self.now(), UTC)

    @property
    def skew(self) -> float:
        """By how many seconds this machine's clock is ahead of the server's; 0 while that is unknown."""
        return time.time() - (boottime() + self._offset) if self.is_known else 0.0

    @property
    def uncertainty(self) -> float:
        """By how many seconds `now()` may be off, judging by the round trip in which it was measured."""
        return self._error + DRIFT * (boottime() - self._measured_at)

    def bounds(self) -> tuple[float, float]:
        """Return the earliest and the latest time that it may be by the server's clock; 0 and this machine's while unknown."""
        now = self.now()
        return (now - self.uncertainty, now + self.uncertainty) if self.is_known else (0.0, now)

    @property
    def is_trusted(self) -> bool:
        """Whether this machine's clock is near enough to the server's for a scheduler to lead."""
        return abs(self.skew) - self.uncertainty <= MOST_SKEW

    async def ask(self, client: "QuickClient", denials: "Denials", stream: str, inbox_prefix: str) -> None:
        """Ask for a stream, to learn the time: it may not be there yet, or its information not be this user's to have."""
        subject = f"$JS.API.STREAM.INFO.{stream}"
        try:
            denials.check_request(subject, inbox_prefix)
            async with asyncio.timeout(None) as scope:
                with denials.interrupting(subject, scope):
                    await self.measure(lambda: client.request(subject, timeout=PATIENCE))
        except (TimeoutError, BrokerError, msgspec.DecodeError, *CLIENT_ERRORS) as error:
            log.debug("the server's time could not be measured: %r", error)

    async def measure(self, ask: Callable[[], Awaitable[Answer]]) -> None:
        """Ask for the server's time, again while the answer takes long.

        Args:
            ask: Sends a request that the server answers with its time.

        Raises:
            msgspec.DecodeError: The answer is not JSON. Whatever `ask` raises.
        """
        for _ in range(TRIES):
            asked = boottime()
            answer = msgspec.json.decode((await ask()).data)
            self.note(answer.get("ts"), asked, boottime())
            if not self.is_known or self.uncertainty < CONTENT:
                return

    def note(self, stamp: object, asked: float, answered: float) -> None:
        """Take note of a stamp in an answer.

        A new measurement counts if it is better than the last one has become with age, or contradicts it: then the server's
        clock was set, or another server answers.

        Args:
            stamp: RFC 3339 text; anything else is ignored.
            asked: Boot time before the request was sent.
            answered: Boot time after the answer came.
        """
        server = _seconds(stamp)
        if server is None:
            return
        offset, error = server - (asked + answered) / 2, (answered - asked) / 2
        contradicts = abs(offset - self._offset) > error + self.uncertainty
        if not self.is_known or contradicts or error < self.uncertainty:
            self._offset, self._error, self._measured_at, self.is_known = offset, error, answered, True
        self.warn()

    def warn(self) -> None:
        """Say once that this machine's clock is wrong, and once that it is right again."""
        skew = self.skew
        is_wrong = abs(skew) - self.uncertainty > WARN_SECONDS
        if is_wrong == self._warned:
            return
        self._warned = is_wrong
        if is_wrong:
            way = "ahead of" if skew > 0 else "behind"
            log.warning(
                "this machine's clock is %.1f s %s the NATS server's: NAQ uses the server's time; synchronise both clocks by NTP",
                abs(skew),
                way,
            )
        else:
            log.info("this machine's clock agrees with the NATS server's")


def _seconds(stamp: object) -> float | None:
    if not isinstance(stamp, str):
        return None
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo is not None else None
