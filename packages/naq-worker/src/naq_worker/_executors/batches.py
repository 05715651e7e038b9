"""The executor of batch tasks: gathers attempts of a task, and makes one call for them.

Each job keeps its own delivery, lease, claim, record and retries; what they share is the call. While a job is gathered it has no
slot, so that others can join it; the call has one, that of one of its jobs (`docs/adr/0059-one-call-for-many-jobs.md`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from naq_core.batch_form import BatchForm
from naq_core.batches import enter_batch, results_of_batch
from naq_core.context import JobContext
from naq_core.layers import Layer
from naq_core.middleware import Attempt
from naq_core.tasks import Background
from naq_worker._active import Active
from naq_worker._running import let_cancellation_arrive

log = logging.getLogger(__name__)

CLOSING = 1.0
"""Seconds that a cancelled call may take to end when the worker ends."""


class Slots(Protocol):
    """The slots of the worker."""

    begin_batch: Callable[[], bool]
    """Called for a free slot: begins a call that waits for one, and returns whether there was one."""

    def free_slot(self, active: Active) -> None:
        """Give a job's slot to others."""
        ...

    def take_slot(self, active: Active) -> bool:
        """Give a job a free slot; return whether there is one."""
        ...


@dataclass(slots=True, eq=False)
class _Member:
    active: Active
    job: JobContext
    item: Any
    on_begin: Callable[[], None]
    result: "asyncio.Future[tuple[Any, BaseException | None]]"
    is_gone: bool = False
    """It was cancelled, timed out or handed back, and the call goes on without it."""


_Key: TypeAlias = tuple[str, str, Any]
"""Queue, function's name, and its code: a function that is sent by value is another object for each job."""


@dataclass(slots=True, eq=False)
class _Together:
    """Jobs that are gathered, and then run by one call."""

    key: _Key
    function: Callable[..., Any]
    members: list[_Member] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    call: "asyncio.Task[None] | None" = None
    """Once it has begun."""


class Batches:
    """The batches of one worker.

    Args:
        call: Calls a function within layers where it belongs.
        layers: Returns those that open the resources of a function.
        context: Returns the context that calls start from.
    """

    def __init__(
        self,
        slots: Slots,
        call: Callable[[Sequence[Layer], Attempt], Awaitable[Any]],
        layers: Callable[[Callable[..., Any]], Sequence[Layer]],
        context: Callable[[], Context],
    ) -> None:
        self._slots = slots
        self._slots.begin_batch = self._begin_next
        self._call = call
        self._layers = layers
        self._context = context
        self._gathering: dict[_Key, _Together] = {}
        self._due: deque[_Together] = deque()
        """Those whose window is over, and which wait for a slot."""
        self._calls = Background(is_hidden=True)
        self._is_hurried = False

    async def run(
        self,
        active: Active,
        job: JobContext,
        on_begin: Callable[[], None],
        function: Callable[..., Any],
        form: BatchForm,
        item: Any,
    ) -> Any:
        """Run a job together with others of its task, and return its result.

        Args:
            on_begin: Called when the call begins.

        Raises:
            BaseException: What the call raised, or returned as this job's failure.
        """
        loop = asyncio.get_running_loop()
        member = _Member(active, job, item, on_begin, loop.create_future())
        key = (job.queue, job.function, getattr(function, "__code__", function))
        is_suspect = active.crashes > 0  # a worker has died while it ran: nobody is to share its fate
        together = None if is_suspect else self._gathering.get(key)
        if together is None:
            together = _Together(key, function)
            if not is_suspect:
                self._gathering[key] = together
                together.timer = loop.call_later(form.window, self._on_window, together)
        together.members.append(member)
        if is_suspect or self._is_hurried or len(together.members) >= form.size:
            self._begin(together)  # with the slot of this job
        else:
            self._slots.free_slot(active)
        try:
            value, error = await member.result
        except asyncio.CancelledError:
            await self._leave(together, member)
            raise
        if error is not None:
            raise error
        if isinstance(value, Exception):
            raise value
        return value

    def hurry(self) -> None:
        """Wait for no further jobs: the worker stops."""
        self._is_hurried = True
        for together in tuple(self._gathering.values()):
            self._on_window(together)

    async def close(self) -> None:
        """Cancel the calls that still run, as all their jobs were given up."""
        for task in tuple(self._calls.tasks):
            task.cancel()
        if self._calls.tasks:
            await asyncio.wait(self._calls.tasks, timeout=CLOSING)

    def _on_window(self, together: _Together) -> None:
        self._due.append(together)
        while self._begin_next():
            pass

    def _begin_next(self) -> bool:
        while self._due:
            together = self._due[0]
            if together.call is None and together.members:
                if not self._slots.take_slot(together.members[0].active):
                    return False
                self._due.popleft()
                self._begin(together)
                return True
            self._due.popleft()
        return False

    def _close(self, together: _Together) -> None:
        """Let no more jobs join."""
        if together.timer is not None:
            together.timer.cancel()
        if self._gathering.get(together.key) is together:
            del self._gathering[together.key]

    def _begin(self, together: _Together) -> None:
        self._close(together)
        for member in together.members:
            member.on_begin()
        name = f"naq-batch {together.members[0].job.function}"
        together.call = self._calls.start(self._run(together), name, context=self._context().copy())

    async def _run(self, together: _Together) -> None:
        members = tuple(together.members)
        jobs = [member.job for member in members]
        enter_batch(jobs)
        attempt = Attempt(jobs[0], together.function, ([member.item for member in members],), {})
        outcomes: list[tuple[Any, BaseException | None]]
        try:
            returned = await self._call(self._layers(together.function), attempt)
            outcomes = [(result, None) for result in results_of_batch(returned, jobs)]
        except GeneratorExit:
            raise  # the event loop is closed under it
        except BaseException as error:  # noqa: BLE001 - the boundary: whatever the function raises is the outcome of all
            outcomes = [(None, error)] * len(members)
        for member, outcome in zip(members, outcomes, strict=True):
            if not member.result.done():
                member.result.set_result(outcome)

    async def _leave(self, together: _Together, member: _Member) -> None:
        """Go on without a job; a call that is for nobody any more is cancelled, and its last jobs wait for its end."""
        member.is_gone = True
        if together.call is None:
            together.members.remove(member)
            if not together.members:
                self._close(together)
            return
        heir = next((each for each in together.members if not (each.is_gone or each.result.done())), None)
        if heir is not None and member.active.has_slot:
            member.active.has_slot, heir.active.has_slot = False, True
        await let_cancellation_arrive()  # of those that are stopped in the same moment
        if together.call.done() or not all(each.is_gone for each in together.members):
            return
        together.call.cancel()
        try:
            await asyncio.wait([together.call])
        except asyncio.CancelledError:
            together.call.cancel()
            log.warning("the call of a batch of %s goes on after its cancellation", member.job.function)
            raise
