"""Wrong passwords and tokens: counted by the address that they come from, which may then not guess for a while."""

import asyncio
import math
from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_network

from litestar.exceptions import HTTPException

from naq_core.wording import counted
from naq_dashboard.guard.peers import parse_address

__all__ = ["Guesses", "Tries"]

MOST_FAILURES = 10
FAILURE_SECONDS = 60.0
REMEMBERED_ADDRESSES = 1000


class Tries:
    """Guesses from one address."""

    def __init__(self, what: str, pause: float) -> None:
        self._what = what
        self._pause = pause
        self._failed_at: deque[float] = deque(maxlen=MOST_FAILURES)
        self.turn = asyncio.Lock()
        """For guesses that take long to check: many sent at once would all precede the first failure."""

    def failed(self) -> None:
        """Count a wrong one."""
        self._failed_at.append(asyncio.get_running_loop().time())

    def check(self) -> None:
        """Refuse to look at another one after too many.

        Raises:
            HTTPException: 429, with the seconds to wait in `Retry-After`.
        """
        if len(self._failed_at) < MOST_FAILURES:
            return
        until = min(self._failed_at[0] + FAILURE_SECONDS, self._failed_at[-1] + self._pause)
        seconds = math.ceil(until - asyncio.get_running_loop().time())
        if seconds > 0:
            told = f"too many wrong {self._what}s: wait {counted(seconds, 'second')}"
            raise HTTPException(told, status_code=429, headers={"Retry-After": str(seconds)})


class Guesses:
    """Guesses of one kind of secret.

    Args:
        what: What is guessed, such as `password`.
        pause: Seconds without a wrong guess after which the next one is looked at, once there were ten within a minute.
    """

    def __init__(self, what: str, pause: float = FAILURE_SECONDS) -> None:
        self._what = what
        self._pause = pause
        self._tries: OrderedDict[str, Tries] = OrderedDict()

    def of(self, address: str) -> Tries:
        """Return what is known of an address; one of IPv6 counts as its network, as its owner has 2**64 of them."""
        key = _network(address)
        tries = self._tries.setdefault(key, Tries(self._what, self._pause))
        self._tries.move_to_end(key)
        if len(self._tries) > REMEMBERED_ADDRESSES:
            self._tries.popitem(last=False)
        return tries


def _network(address: str) -> str:
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), 64), strict=False))
    return str(found or address)
