"""Late claims: a job that nobody can have begun before starts at once, and is claimed only if it goes on for a moment.

What may start so, and why no promise but one depends on the claim in that moment, is in `docs/adr/0046-late-claims.md`.
"""

import asyncio
from collections import deque
from typing import Protocol

from naq_core import transitions
from naq_core.envelope import Envelope
from naq_core.platforms import boottime
from naq_core.storage.connection import Connection
from naq_core.transport.repeat import LATEST_FIRST
from naq_worker._active import Active, Claim

STEP = 0.25
"""Claims of jobs that began within this share of `claim_after` are written together."""
SLOW = 0.25
"""Seconds for which an end may be on its way to the server; while one takes longer, jobs are claimed first."""
MOST_ENDS = 256
"""Ends that may be on their way: so many jobs at most run in vain where the server takes no records."""
MOST_NAMES = 1000
LEFT = 0.8
"""The share of its lease, counted from its arrival, that a job must have left at its start. As it may have been sent three
eighths of a lease before, this leaves the time in which leases are renewed, a third."""


class Claimable(Protocol):
    """What writes the claim of a running job."""

    def claim(self) -> None: ...


class Late:
    """Lets jobs of one worker start before they are claimed. Used from its event loop."""

    def __init__(self, connection: Connection, worker_id: str) -> None:
        settings = connection.settings
        self._connection = connection
        self._worker_id = worker_id
        self._now = connection.clock.now
        self._after = settings.claim_after.total_seconds()
        self._lease = settings.ack_wait.total_seconds()
        self._shortest = 2 * settings.publish_budget.total_seconds() + self._lease
        """Seconds that a record must stay: an end that is written for so long must not follow one that has vanished."""
        self._is_on = self._after > 0 and not connection.signer and settings.failure_ttl.total_seconds() > self._shortest
        self._result_ttl = settings.result_ttl.total_seconds()
        self.started = 0
        """How many jobs have started before they were claimed."""
        self._newest = 0
        """The newest sequence of a record that is known here: any claim of now or later has a greater one. 0: none."""
        self._fenced: set[str] = set()
        """Functions that have read their fence."""
        self._ends: dict[Active, float] = {}
        """When the ends that are on their way were sent, in loop time, the oldest first."""
        self._begun: deque[tuple[float, Claimable]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def begin(self, active: Active, envelope: Envelope) -> Claim | None:
        """Return the claim, not yet written, of a job that may start; None where it has to be claimed first.

        Its fence is smaller than that of any other claim from now on, and no attempt was before it.
        """
        delivery = active.delivery
        if not (self._is_on and delivery.is_first and self._newest and self._may_start(active, envelope)):
            return None
        active.started_at = now = self._now()
        if 0 < envelope.expires < now + self._lease:  # somebody may find it expired before the claim
            return None
        record = transitions.claimed(envelope, delivery.queue, self._worker_id, now, delivery.sequence)
        self.started += 1
        return Claim(record, 0, self._newest)

    def _may_start(self, active: Active, envelope: Envelope) -> bool:
        options = envelope.opt
        ttl = self._result_ttl if options.result_ttl is None else options.result_ttl
        if options.claim == "first" or options.process or ttl <= self._shortest or envelope.fn in self._fenced:
            return False
        if abs(active.delivery.ready_at - envelope.at) > LATEST_FIRST:
            return False
        if active.lease_until - boottime() < LEFT * self._lease:  # it has waited here, and nobody has renewed its lease
            return False
        if len(self._ends) >= MOST_ENDS or not self._connection.is_connected:
            return False
        return not self._ends or self._loop.time() - next(iter(self._ends.values())) < SLOW

    def watch(self, job: Claimable) -> None:
        """Have a job that has begun claimed after a while."""
        self._begun.append((self._loop.time() + self._after, job))
        if self._timer is None:
            self._timer = self._loop.call_later(self._after, self._claim_due)

    def _claim_due(self) -> None:
        begun, now = self._begun, self._loop.time()
        while begun and begun[0][0] <= now:
            begun.popleft()[1].claim()
        self._timer = self._loop.call_at(max(begun[0][0], now + STEP * self._after), self._claim_due) if begun else None

    def note_fence(self, function: str) -> None:
        """A job has read its fence: others of its function are claimed first, so that it also grows from job to job."""
        if len(self._fenced) < MOST_NAMES:
            self._fenced.add(function)

    def note_claim(self, claim: Claim) -> None:
        """A record was stored."""
        self._newest = claim.revision

    def note_end(self, active: Active) -> None:
        """The end of a job is sent to the server."""
        self._ends[active] = self._loop.time()

    def forget(self, active: Active, *, is_stored: bool) -> None:
        """The end is stored, or could not be: then jobs are claimed first, until a claim is stored."""
        self._ends.pop(active, None)
        if not is_stored:
            self._newest = 0

    def is_past(self, active: Active, claim: Claim) -> bool:
        """Whether a job that was never claimed may be another worker's by now: its lease has passed, as this one was frozen."""
        return not claim.revision and active.lease_until <= boottime()
