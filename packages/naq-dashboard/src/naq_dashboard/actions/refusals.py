"""Refused attempts, summed: anybody can make thousands a second, which must fill neither the log nor the audit trail."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from naq_core.audit import Actor

__all__ = ["Refusal", "Refusals"]

INTERVAL = 60.0
"""Seconds after which attempts that were only counted are reported."""
MOST_KINDS = 100
"""Kinds that are counted separately; more of them, as from thousands of addresses, are counted together."""


class Refusal(NamedTuple):
    """Attempts that are reported as one."""

    actor: Actor
    action: str
    reason: str
    address: str


class Refusals:
    """Reports the first attempt of each kind at once, and then their number once in each interval.

    Args:
        report: Called with the kind, the target of the attempt, and how many it stands for; of several the target is empty.
    """

    def __init__(self, report: Callable[[Refusal, str, int], None]) -> None:
        self._report = report
        self._more: dict[Refusal, tuple[int, str]] = {}
        """Attempts since each was last reported, and the newest target. A kind that came again is kept for another interval."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def add(self, refusal: Refusal, target: str = "") -> None:
        """Count an attempt."""
        if refusal not in self._more and len(self._more) >= MOST_KINDS:
            refusal = Refusal(Actor("", refusal.actor.how), refusal.action, "refused (not listed separately: too many)", "")
        if refusal in self._more:
            self._more[refusal] = (self._more[refusal][0] + 1, target)
            return
        self._more[refusal] = (0, "")
        self._report(refusal, target, 1)
        self._start()

    def give_back(self, refusal: Refusal, target: str, count: int) -> None:
        """Count attempts again that could not be reported: they are part of the next sum."""
        if not self._is_closed:
            self._more[refusal] = (self._more.get(refusal, (0, ""))[0] + count, target)
            self._start()

    def sum_up(self) -> None:
        """Report what was only counted."""
        self._timer = None
        counted = {refusal: more for refusal, more in self._more.items() if more[0]}
        self._more = dict.fromkeys(counted, (0, ""))
        if counted:
            self._start()
        for refusal, (count, target) in counted.items():
            self._report(refusal, target if count == 1 else "", count)

    def close(self) -> None:
        """Report what was only counted, for the last time."""
        if self._timer is not None:
            self._timer.cancel()
        self._is_closed = True
        self.sum_up()

    def _start(self) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self.sum_up)
