"""Who leads: a compare-and-set key that the server itself removes when its owner falls silent.

No two machines' clocks are compared: the server counts the time to live, and the owner counts its own deadline from before it
asked, on a clock that goes on while the machine is suspended. So the owner stops leading before anybody else can begin. That is
courtesy: safety is in the firings themselves (`_fire`), as a process can be stopped between looking at its clock and acting.
"""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Callable

from naq_core.errors import BrokerError
from naq_core.platforms import boottime
from naq_core.storage.connection import Connection
from naq_core.storage.lease import LeaseOwner, encode_lease, lease_at
from naq_core.storage.topology import ensure_schedules
from naq_core.transport.buckets import read_document, write_document
from naq_core.transport.clock import MOST_SKEW
from naq_core.transport.watch import Change

log = logging.getLogger(__name__)

NAME = "scheduler"
AGAIN = 0.3
"""Seconds until a lease that should have run out is looked at again."""


class Lease:
    """The leadership of one instance.

    Args:
        instance: Unique to this start of the process.
        on_change: Called when it begins or ceases to lead.
    """

    def __init__(self, connection: Connection, instance: str, on_change: Callable[[bool], None]) -> None:
        self._connection = connection
        self._instance = instance
        self._on_change = on_change
        self._ttl = int(connection.settings.scheduler_ttl.total_seconds())
        self._margin = max(0.5, self._ttl / 5)
        self._loop = asyncio.get_running_loop()
        self._deadline = 0.0
        self._revision = 0
        self._renewal = 0
        self._since = 0.0
        self._leads = False
        self._stopped = False
        self._trusts_clock = True
        self._wake = asyncio.Event()
        self._seen = 0
        self._seen_at = 0.0
        """When somebody else's lease was last seen to be renewed, in loop time."""
        self.owner: str = ""
        """Who leads, as far as is known."""

    @property
    def is_held(self) -> bool:
        """Whether this instance leads right now; ask before each act, the answer ages."""
        return boottime() < self._deadline and self._connection.clock.is_trusted

    @property
    def seconds_left(self) -> float:
        """For how long it leads without another renewal."""
        return max(0.0, self._deadline - boottime())

    def on_lease(self, change: Change) -> None:
        """Take note of a change of the lease (for the watch)."""
        if change.revision <= self._seen:
            return
        self._seen = change.revision
        other = lease_at(change.data)
        self.owner = "" if other is None else other.owner
        if other is None:
            self._seen_at = 0.0  # it was given back: try at once
        elif other.owner != self._instance:
            self._seen_at = self._loop.time()
            return
        if not self._leads:
            self._wake.set()

    async def run(self) -> None:
        """Acquire and renew until cancelled."""
        try:
            while not self._stopped:
                await self._turn()
        finally:
            self._lose()

    async def _turn(self) -> None:
        try:
            if not self._may_lead():
                self._lose()
                await self.release()
                await asyncio.sleep(AGAIN)
                return
            await (self._renew() if self._leads else self._try_to_lead())
        except BrokerError as error:
            log.log(logging.WARNING if self._leads else logging.DEBUG, "the scheduler's lease: %s", error)
            await asyncio.sleep(AGAIN)
        if self._leads and not self.is_held:
            self._lose()

    def _may_lead(self) -> bool:
        """Whether this machine's clock is near enough to the server's; say so once where it is not, and once when it is."""
        clock = self._connection.clock
        if clock.is_trusted == self._trusts_clock:
            return self._trusts_clock
        self._trusts_clock = clock.is_trusted
        if self._trusts_clock:
            log.warning("scheduler %s can lead again: this machine's clock agrees with the NATS server's", self._instance)
        else:
            log.error(
                "scheduler %s does not lead: this machine's clock is %.0f s %s the NATS server's, and at most %.0f s are allowed;"
                " synchronise both clocks by NTP",
                self._instance,
                abs(clock.skew),
                "ahead of" if clock.skew > 0 else "behind",
                MOST_SKEW,
            )
        return self._trusts_clock

    async def _try_to_lead(self) -> None:
        await self._wait_for_a_chance()
        await ensure_schedules(self._connection)
        began = boottime()
        names = self._connection.names
        found = await read_document(self._connection, names.leases_stream, names.lease(NAME))
        other = lease_at(found.data)
        if other is not None and other.owner != self._instance:
            self.owner = other.owner
            if found.revision > self._seen:
                self._seen, self._seen_at = found.revision, self._loop.time()
            else:
                await asyncio.sleep(AGAIN)
            return
        self._since = self._connection.clock.now()
        await self._write(found.revision, began)
        if not self._leads and self.is_held:
            self._leads, self.owner = True, self._instance
            log.info("scheduler %s is the leader", self._instance)
            self._on_change(True)

    async def _wait_for_a_chance(self) -> None:
        """Wait until the lease that was last seen must have run out, or is given back; the others wait a little differently."""
        self._wake.clear()
        if not self._seen_at:
            return
        patience = self._seen_at + self._ttl + random.uniform(0, self._ttl / 10) - self._loop.time()  # noqa: S311 - no secret
        while patience > 0 and not self._wake.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._wake.wait()
            patience = self._seen_at + self._ttl - self._loop.time()

    async def _renew(self) -> None:
        self._wake.clear()
        pause = min(self._ttl / 3, self.seconds_left)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
        if not self._stopped and self.is_held:
            await self._write(self._revision, boottime())

    async def _write(self, revision: int, began: float) -> None:
        """Compare-and-set the lease; the deadline counts from `began`, before anything was sent."""
        names = self._connection.names
        self._renewal += 1
        body = encode_lease(LeaseOwner(self._instance, socket.gethostname(), os.getpid(), self._renewal, self._since))
        patience = self._loop.time() + (self.seconds_left or self._ttl - self._margin)
        stored = await write_document(self._connection, names.lease(NAME), body, revision, ttl=self._ttl, deadline=patience)
        if stored is None:
            self._deadline = 0.0
        else:
            self._revision, self._deadline = stored, began + self._ttl - self._margin

    def _lose(self) -> None:
        self._deadline = 0.0
        if self._leads:
            self._leads = False
            log.info("scheduler %s is no longer the leader", self._instance)
            self._on_change(False)

    def stop(self) -> None:
        """Lead no more from now on; `release` tells the others."""
        self._stopped = True
        self._deadline = 0.0
        self._wake.set()

    async def release(self) -> None:
        """Give the lease back, so that another takes over at once instead of after the time to live."""
        revision, self._revision = self._revision, 0
        self._deadline = 0.0
        if not revision:
            return
        names = self._connection.names
        try:
            async with asyncio.timeout(2):
                await write_document(self._connection, names.lease(NAME), b"", revision)
        except (BrokerError, TimeoutError) as error:
            log.warning("the scheduler's lease cannot be released and will expire: %s", error)


class Solo:
    """Stands in for the lease where an instance shall lead without asking; warns where another one runs."""

    def __init__(self, connection: Connection, instance: str, on_change: Callable[[bool], None]) -> None:
        self._lease = Lease(connection, instance, lambda _leads: None)
        self._instance = instance
        self._on_change = on_change
        self._warned: str = ""
        self._stopped = False
        self._clock = connection.clock
        self._interval = connection.settings.scheduler_ttl.total_seconds() / 3

    @property
    def is_held(self) -> bool:
        """It leads until it is stopped, unless this machine's clock is wrong."""
        return not self._stopped and self._clock.is_trusted

    @property
    def seconds_left(self) -> float:
        """There is no end."""
        return 0.0 if self._stopped else 3600.0

    @property
    def owner(self) -> str:
        """Itself."""
        return self._instance

    def on_lease(self, change: Change) -> None:
        """Take note of a change of the lease, and warn if it is another's."""
        self._lease.on_lease(change)
        other = self._lease.owner
        if other and other not in {self._instance, self._warned}:
            self._warned = other
            log.warning(
                "scheduler %s runs too, and this one was started with enable_ha=False: each run still makes one job, but one"
                " of the two is superfluous; start both with enable_ha=True",
                other,
            )

    async def run(self) -> None:
        """Lead, and hold the lease besides, so that others can see it."""
        self._on_change(True)
        try:
            await self._lease.run()
        finally:
            self._on_change(False)

    def stop(self) -> None:
        """Lead no more."""
        self._stopped = True
        self._lease.stop()

    async def release(self) -> None:
        """Give the lease back."""
        await self._lease.release()
