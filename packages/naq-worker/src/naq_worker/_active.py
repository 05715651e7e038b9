"""The jobs a worker holds right now, shared by the event loop and the keep-alive thread."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from naq_core.context import StopFlag
from naq_core.platforms import boottime
from naq_core.record import JobRecord
from naq_core.storage.deliveries import Delivery
from naq_worker._running import Running
from naq_worker.outcome import Interrupted


@dataclass(slots=True, eq=False)
class Active:
    """One delivery in this worker's hands, from its arrival until it is settled."""

    delivery: Delivery
    lease_until: float
    """On the boot-time clock; after it the server may give the job to another worker."""
    arrived_at: float = 0.0
    """On the same clock: when it began to wait for a slot; 0 where it did not have to."""
    started_at: float = 0.0
    """Wall clock of the claim; 0 while it waits for a slot."""
    task: asyncio.Task[None] = field(init=False)
    """What runs the job; not set before it has begun and after it has ended."""
    has_slot: bool = False
    """It counts towards the concurrency: from its start until its function has ended, not while its end is recorded."""
    has_place: bool = False
    """A child process is reserved for it."""
    is_put_back: bool = False
    """It waits for a child process, unclaimed."""
    leave: Callable[[], Awaitable[None]] | None = None
    """Gives back its slot of a limited queue."""
    running: Running | None = None
    """The user's function, while it runs: only then may the task be cancelled."""
    is_given_up: bool = False
    """The function went on after its cancellation, so the job was settled without it; its task owns nothing any more."""
    lease_lost: bool = False
    crashes: int = 0
    """How many attempts of the job have ended with their worker; they use up no retry."""
    stopping: bool = False
    flag: StopFlag = field(default_factory=StopFlag)
    """What the job itself can see of it."""
    progress_task: asyncio.Task[None] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What the job is known by in this worker."""
        return self.delivery.key

    @property
    def is_running(self) -> bool:
        """Whether the user's function runs, and its end still counts."""
        return self.running is not None and not self.is_given_up

    def may_start(self) -> bool:
        """Whether the function may be called: after its lease, as of a worker that was frozen, the job may have run elsewhere."""
        if self.lease_until <= boottime():
            self.interrupt(lease_lost=True)
        return not self.stopping

    def interrupt(self, *, lease_lost: bool) -> None:
        """Stop the function, from the event loop; before and after it the task is left to finish its bookkeeping."""
        self.lease_lost = self.lease_lost or lease_lost
        self.stopping = True
        self.flag.is_set = True
        if self.running is not None:
            self.running.stop(Interrupted(lease_lost=self.lease_lost))

    def cancel(self) -> None:
        """Stop the function as its record is final by another hand: handing the job back will be refused, and that ends it."""
        self.interrupt(lease_lost=False)


@dataclass(slots=True)
class Claim:
    """An attempt: its record and the revision to compare-and-set against."""

    record: JobRecord
    revision: int
    """0 while the job runs unclaimed."""
    fence: int


@dataclass(slots=True)
class Counters:
    """What a worker has done since it started; part of its presence."""

    processed: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    skipped: int = 0
    """Re-deliveries of jobs that had ended or were in living hands: runs that the claim prevented."""
