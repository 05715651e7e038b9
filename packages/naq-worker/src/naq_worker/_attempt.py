"""One attempt: call the function where it belongs, within its time, and return an outcome. Knows nothing of NATS."""

import asyncio
import contextlib
import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from naq_core.batch_form import BatchForm, batch_of, item_of
from naq_core.context import JobContext, set_current_job
from naq_core.dependency import ParentOutcome
from naq_core.envelope import Envelope, encode_envelope
from naq_core.errors import AttemptTimeoutError
from naq_core.layers import Layer, Layers, around, around_attempts, has_declared
from naq_core.middleware import Attempt
from naq_core.opened import OpenResources
from naq_core.resources import has_resources
from naq_core.settings import Settings
from naq_worker._active import Active
from naq_worker._executors.batches import Batches, Slots
from naq_worker._executors.frames import Run
from naq_worker._executors.processes import Processes
from naq_worker._executors.threads import Threads
from naq_worker._invoke import context_of, end_copy, is_async, of_error, of_value, prepare, within, within_plain
from naq_worker._report import Reporter
from naq_worker._running import Running, let_cancellation_arrive, take_back
from naq_worker._shortage import ShortageError
from naq_worker.outcome import Interrupted, Outcome, Short

PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds for which a job keeps its slot when the worker is short of something, by how many have met this in a row before."""


@dataclass(slots=True)
class Attempts:
    """Runs attempts for one worker."""

    settings: Settings
    threads: Threads
    processes: Processes
    layers: Layers
    """The middleware of the settings."""
    resources: OpenResources
    slots: Slots
    """What batches take and give."""
    batches: Batches = field(init=False)
    shortages: int = 0
    """How many attempts in a row have met a shortage."""
    process: int = field(default_factory=os.getpid)

    def __post_init__(self) -> None:
        """Make what runs jobs together."""
        self.batches = Batches(self.slots, self._called, self.resources.layers, lambda: self.resources.context)

    async def run(
        self,
        active: Active,
        envelope: Envelope,
        attempt: int,
        fence: int,
        reporter: Reporter,
        on_given_up: Callable[[Outcome], None],
        parents: tuple[ParentOutcome, ...] | None = None,
    ) -> Outcome:
        """Run one attempt; the task may be cancelled through `active.interrupt` while it does.

        Args:
            on_given_up: Called with the outcome where the function goes on after its cancellation; what this method returns
                later is to be ignored then, as `active.is_given_up` says.
        """
        if not active.may_start():
            return Interrupted(lease_lost=active.lease_lost)
        options = envelope.opt
        try:
            call = self._call(active, envelope, attempt, fence, reporter, parents)
        except ShortageError as error:
            call = partial(_raise, error)
        except BaseException as error:  # noqa: BLE001 - it runs users' code: an import may raise SystemExit
            return of_error(error, None)
        running = active.running = Running(active.task, (envelope.id, envelope.fn), on_given_up)
        # That of a child process begins when the job has one, that of a batch with the call.
        if options.timeout is not None and not (options.process or isinstance(call, _Joining)):
            running.limit(options.timeout, lambda: self._timed_out(active, envelope))
        try:
            value = await call()
            outcome = value if options.process else of_value(value, self.settings.job_serializer)
        except GeneratorExit as error:
            # From a future that the job awaits, it closes every coroutine up to the task: nothing can be awaited here any more.
            if not running.is_torn_down:
                running.conclude(of_error(error, options.retry, envelope.source))
            raise
        except BaseException as error:  # noqa: BLE001 - the boundary: whatever a job raises is its outcome
            outcome = await self._of_raised(active, envelope, error)
        end_copy(self.process)
        if isinstance(outcome, Short):
            await self._back_off(running)
        else:
            self.shortages = 0
        if cancellations := running.end():
            await take_back(active.task, cancellations)
        active.running = None
        return outcome if running.outcome is None else running.outcome

    def _call(
        self,
        active: Active,
        envelope: Envelope,
        attempt: int,
        fence: int,
        reporter: Reporter,
        parents: tuple[ParentOutcome, ...] | None,
    ) -> Callable[[], Awaitable[Any]]:
        """Return what calls the function where it belongs, with the job as the current one."""
        queue, crashes = active.delivery.queue, active.crashes
        context = context_of(
            envelope,
            queue,
            attempt,
            fence,
            crashes,
            parents,
            _on_fence=reporter.on_fence,
            _report=reporter.progress,
            _log=reporter.log,
            _keeps_logs=self.settings.job_logs == "on",
            _stop=active.flag,
        )
        if envelope.opt.process:
            set_current_job(context)  # for the log records of the child, which are handled here
            run = Run(encode_envelope(envelope), queue, attempt, fence, parents, crashes)
            return partial(self.processes.run, run, envelope.opt.timeout, reporter)
        function, args, kwargs = prepare(envelope, parents, self.settings.job_serializer, self.settings.allowed_functions)
        set_current_job(context)
        form = batch_of(function)
        if form is not None:
            return self._joining(active, envelope, context, function, form, args, kwargs)
        has_layers = self.layers.attempt or has_declared() or has_resources()
        if has_layers and (layers := self.resources.around(self.layers, queue, function)):
            given = Attempt(context, function, args, kwargs)
            return partial(within if is_async(function) else self._in_thread_within, layers, given, self.process)
        call = partial(function, *args, **kwargs)
        return call if is_async(function) else partial(self._in_thread, call)

    def _joining(
        self,
        active: Active,
        envelope: Envelope,
        job: JobContext,
        function: Callable[..., Any],
        form: BatchForm,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> "_Joining":
        """Return what runs a job together with others; its middleware is around that, and the resources are around the call."""

        def begin() -> None:
            if envelope.opt.timeout is not None and active.running is not None:
                active.running.limit(envelope.opt.timeout, lambda: self._timed_out(active, envelope))

        async def join(*args: Any, **kwargs: Any) -> Any:
            return await self.batches.run(active, job, begin, function, form, item_of(form, args, kwargs))

        layers = around_attempts(self.layers, job.queue, function) if self.layers.attempt or has_declared() else []
        if not layers:
            return _Joining(join, *args, **kwargs)
        return _Joining(within, layers, Attempt(job, functools.wraps(function)(join), args, kwargs), self.process)

    def _called(self, layers: Sequence[Layer], attempt: Attempt) -> Awaitable[Any]:
        """Call a function within layers where it belongs."""
        run = within if is_async(attempt.function) else self._in_thread_within
        return run(layers, attempt, self.process)

    async def _in_thread_within(self, layers: Sequence[Layer], attempt: Attempt, process: int) -> Any:
        """Call a plain function within its middleware, of which the plain ones run in its thread."""

        async def call() -> None:
            await self.threads.run(partial(within_plain, layers, attempt, process))
            if inspect.isawaitable(attempt.result):
                attempt.result = await attempt.result

        await around([layer for layer in layers if layer.is_async], attempt, call)
        return attempt.result

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        result = await self.threads.run(call)
        return await result if inspect.isawaitable(result) else result

    async def _back_off(self, running: Running) -> None:
        """Keep the slot for a moment where the worker is short of something, so that it does not go through its whole queue."""
        pause = PAUSES[min(self.shortages, len(PAUSES) - 1)]
        self.shortages += 1
        running.lift_limit()
        with contextlib.suppress(asyncio.CancelledError):  # the worker stops: `running.outcome` says so
            await asyncio.sleep(pause)

    async def _of_raised(self, active: Active, envelope: Envelope, error: BaseException) -> Outcome:
        if isinstance(error, asyncio.CancelledError):
            await let_cancellation_arrive()  # a worker that is cancelled with its program says so now
            if active.stopping:
                return Interrupted(lease_lost=active.lease_lost)
        if isinstance(error, TimeoutError) and envelope.opt.process and envelope.opt.timeout is not None:
            return self._timed_out(active, envelope)
        return of_error(error, envelope.opt.retry, envelope.source)

    def _timed_out(self, active: Active, envelope: Envelope) -> Outcome:
        active.flag.is_set = True  # a thread goes on, but can see the flag
        active.flag.reason = AttemptTimeoutError(envelope.id, envelope.opt.timeout or 0)
        return of_error(active.flag.reason, envelope.opt.retry)


class _Joining(partial[Awaitable[Any]]):
    """What runs a job together with others; its time limit begins with their call."""


def _raise(error: Exception) -> NoReturn:
    raise error
