"""The worker: takes jobs from queues, runs as many at a time as it has slots, and stops without losing one."""

import asyncio
import inspect
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, TypeAlias

from naq_core.broker import Connection, Delivery, ensure_queue
from naq_core.errors import (
    BrokerError,
    ConfigurationError,
)
from naq_core.inspect import list_workers
from naq_core.names import new_id
from naq_core.record import FINAL, JobState
from naq_core.settings import Settings
from naq_worker._active import Active, Counters, boottime
from naq_worker._attempt import Attempts
from naq_worker._claim import Claims
from naq_worker._control import Control
from naq_worker._dependents import Finisher
from naq_worker._executors.processes import Processes
from naq_worker._executors.threads import Threads
from naq_worker._fetch import Fetch
from naq_worker._keepalive import KeepAlive
from naq_worker._limits import Limits
from naq_worker._logs import catch_logs
from naq_worker._metrics import Metrics
from naq_worker._presence import process_facts, running_jobs
from naq_worker._process import Processor
from naq_worker._report import Reports
from naq_worker._rota import Rota
from naq_worker._settle import Settler
from naq_worker._signals import stop_on_signals
from naq_worker._suspects import Isolation

log = logging.getLogger(__name__)

Hook: TypeAlias = Callable[[], Awaitable[None] | None]

CHECK_INTERVAL = 1.0
HAND_BACK = 2.0
"""Seconds that handing back interrupted jobs may take."""
GONE_FOR_GOOD = FINAL - {JobState.DEAD, JobState.CANCELLED}
"""States in which a job's large arguments have no more use: a dead or cancelled one may be put back."""
SECOND_MESSAGE_DELAY = 0.5
NEWER_VERSION_DELAY = 5.0
NEWER_VERSION_TRIES = 20


class Worker:
    """Runs jobs.

    Args:
        queues: Names of the queues, the most important first; or names with weights (`{"mail": 3, "reports": 1}`), for shares
            of the slots. Within a queue the priorities of its jobs decide.
        nats_url: The server; by default the setting.
        concurrency: How many jobs run at a time; by default the setting, 10.
        settings: Ready settings, instead of those of the environment.
        burst: Leave when the queues are empty, instead of waiting for more.
        on_startup: Functions (plain or async) called before the first job; one that raises stops the worker.
        on_shutdown: Functions called after the last job.
        overrides: Any other setting by its name.

    Raises:
        InvalidNameError, ConfigurationError: A name or setting is wrong.
    """

    def __init__(
        self,
        queues: Sequence[str] | Mapping[str, float] | str,
        nats_url: str | None = None,
        concurrency: int | None = None,
        *,
        settings: Settings | None = None,
        burst: bool = False,
        on_startup: Iterable[Hook] = (),
        on_shutdown: Iterable[Hook] = (),
        **overrides: Any,
    ) -> None:
        self.settings = settings or Settings.load(nats_url=nats_url, concurrency=concurrency, **overrides)
        self.concurrency = self.settings.concurrency if concurrency is None else concurrency
        if self.concurrency < 1:
            raise ConfigurationError("concurrency", f"{self.concurrency!r} is not a whole number from 1 up")
        self._rota = Rota([queues] if isinstance(queues, str) else queues)
        self.queues = self._rota.queues
        self.burst = burst
        self.worker_id = f"{socket.gethostname().split('.')[0]}-{os.getpid()}-{new_id()[-8:]}".replace("_", "-")
        self.counters = Counters()
        self.started_at = 0.0
        self._on_startup = tuple(on_startup)
        self._on_shutdown = tuple(on_shutdown)
        self._active: dict[tuple[str, str], Active] = {}
        self._slots_taken = 0
        self._has_put_off = False
        """It has handed back what it will soon be given again: not drained yet, in burst mode."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._quiet = False
        self._failure: BaseException | None = None
        self.stuck_jobs = 0
        """Jobs that ran on after the stop, as they swallow their cancellation; an event loop cannot be closed over them."""
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<Worker {self.worker_id} of {', '.join(self.queues)}>"

    @staticmethod
    async def list_workers(nats_url: str | None = None, *, settings: Settings | None = None) -> list[dict[str, Any]]:
        """Return the presence of every living worker: id, host, pid, queues, concurrency, running jobs, counters."""
        async with Connection(settings or Settings.load(nats_url=nats_url), name="naq-list-workers") as connection:
            return await list_workers(connection)

    def stop(self) -> None:
        """Take no more jobs, let the running ones finish within the grace, hand the rest back. Callable from any thread."""
        self._call_on_loop(self._begin_stop)

    def stop_now(self) -> None:
        """Stop, and interrupt the running jobs at once; they are handed back. Callable from any thread."""
        self._call_on_loop(self._begin_stop)
        self._call_on_loop(self._hurry.set)

    def quiet(self) -> None:
        """Take no more jobs and finish the running ones, until `resume()` or `stop()`. Callable from any thread."""
        self._call_on_loop(lambda: self._set_quiet(True))

    def resume(self) -> None:
        """Take jobs again after `quiet()`. Callable from any thread."""
        self._call_on_loop(lambda: self._set_quiet(False))

    def _set_quiet(self, quiet: bool) -> None:
        self._quiet = quiet
        self._wake.set()

    @property
    def state(self) -> str:
        """What presence says of it: running, quiet or stopping."""
        if self._stopping.is_set():
            return "stopping"
        return "quiet" if self._quiet else "running"

    def _call_on_loop(self, function: Callable[[], None]) -> None:
        if not self.started_at or threading.get_ident() == self._thread:
            function()
        else:
            self._loop.call_soon_threadsafe(function)

    def _begin_stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Run until `stop()`, a signal (in the main thread), or with `burst` until the queues are empty.

        Raises:
            BrokerError: No usable server, or its connection is lost for good. Whatever a start-up hook raises.
        """
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self.started_at = time.time()
        async with Connection(self.settings, name=f"naq-worker-{self.worker_id}", keeps=True) as connection:
            self._connection = connection
            for source in self._rota.sources:
                await ensure_queue(connection, source.queue, source.level)
            self._assemble(connection)
            control = Control(connection, self, lambda queue, job_id: self._active.get((queue, job_id)), self._held)
            keepalive = KeepAlive(self.settings, self.worker_id, self._held, self.presence, self._lease_lost)
            for hook in self._on_startup:
                await _call_hook(hook)
            with stop_on_signals(self):  # before its presence: who sees the worker may stop it
                await self._serve(keepalive, control)
        if self._failure is not None:
            raise self._failure
        log.info("worker %s has stopped; jobs done: %d", self.worker_id, self.counters.processed)

    def _assemble(self, connection: Connection) -> None:
        """Make the parts that work together while the connection lives."""
        settings = self.settings
        self._isolation = Isolation(lambda: len(self._active) <= 1, self._fill)
        self._fetch = Fetch(
            connection,
            self._rota,
            self.concurrency,
            burst=self.burst,
            busy=lambda: self._slots_taken if self._isolation.is_open else 2 * self.concurrency,
            held=self._active.__len__,
            on_delivery=self._on_delivery,
            wake=self._wake.set,
        )
        self._finisher = Finisher(connection, self._wake.set)
        self._limits = Limits(connection, self.worker_id, self.queues, lambda queue, job_id: (queue, job_id) in self._active)
        self._metrics = Metrics(connection, self.worker_id, ((each.queue, each.level) for each in self._rota.sources))
        keeps_logs = settings.job_logs == "on"
        processes = Processes(settings.processes, settings.job_serializer, settings.allowed_functions, logs=keeps_logs)
        self._attempts = Attempts(settings, Threads(), processes)
        settler = Settler(connection, self.counters, self._finisher.finish, self._limits.is_limited)
        self._processor = Processor(
            connection=connection,
            counters=self.counters,
            claims=Claims(connection, self.worker_id, self._isolation, settler.put_off),
            attempts=self._attempts,
            settler=settler,
            finisher=self._finisher,
            limits=self._limits,
            reports=Reports(settler.progress, self._spawn, self._loop, self._thread),
            metrics=self._metrics,
            isolation=self._isolation,
            on_ran=self._note_ran,
        )

    async def _serve(self, keepalive: KeepAlive, control: Control) -> None:
        await control.start()
        await self._limits.start()
        await keepalive.start()  # last: who sees the worker's presence may count on all of it
        self._metrics.start()
        try:
            with catch_logs() if self.settings.job_logs == "on" else nullcontext():
                await self._work(keepalive)
        finally:
            await self._attempts.processes.close()
            self._attempts.threads.close()
            control.stop()
            await self._metrics.stop()
            await keepalive.stop()
            for hook in self._on_shutdown:
                await _call_hook(hook)

    async def _work(self, keepalive: KeepAlive) -> None:
        await self._fetch.start()
        log.info("worker %s takes jobs from %s, %d at a time", self.worker_id, ", ".join(self.queues), self.concurrency)
        self._wake.set()
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(CHECK_INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                self._fetch.check()
            await self._fetch.return_overdue()
            self._wake.clear()
            self._raise_failures(keepalive)
            if self._quiet == self._fetch.is_open:
                await self._follow_quiet()
                keepalive.beat_soon()
            if self._quiet:
                continue
            if (
                self.burst
                and self._finisher.is_idle
                and await self._fetch.is_drained(
                    has_retries=self._has_put_off
                    or self.counters.retried > 0
                    or self._limits.handed_back > 0
                    or self._processor.claims.handed_back > 0
                )
            ):  # before asking again, which makes the answer unknown
                break
            await self._fetch.ask(self._stopping.is_set)
        keepalive.beat_soon()
        await self._finish()

    async def _follow_quiet(self) -> None:
        """Withdraw what was ordered, or order again."""
        if self._quiet:
            log.info("worker %s takes no more jobs; %d run on", self.worker_id, len(self._active))
            await self._fetch.stop()
        else:
            log.info("worker %s takes jobs again", self.worker_id)
            await self._fetch.start()

    def _raise_failures(self, keepalive: KeepAlive) -> None:
        """End loudly what cannot go on: no silent stop."""
        failures = [self._failure, keepalive.failure, self._connection.lost]
        for failure in failures:
            if failure is not None:
                self._failure = failure
                self._begin_stop()

    def _on_delivery(self, delivery: Delivery) -> None:
        active = Active(delivery, boottime() + self.settings.ack_wait.total_seconds())
        if active.key in self._active:
            self._note_again(active)
        elif self._stopping.is_set() or self._quiet:
            _ = self._spawn(delivery.nak())
        elif self._slots_taken < self.concurrency and self._isolation.is_open:
            self._begin(active)
        else:
            self._fetch.wait(active)

    def _note_again(self, active: Active) -> None:
        """A delivery of a job in hand: the server has forgotten that we have it, or it is the id's next incarnation."""
        known = self._active[active.key]
        if known.delivery.sequence == active.delivery.sequence:
            known.delivery, known.lease_until = active.delivery, active.lease_until
        else:
            self._has_put_off = True
            _ = self._spawn(active.delivery.nak(SECOND_MESSAGE_DELAY))

    def _begin(self, active: Active) -> None:
        self._active[active.key] = active
        active.has_slot = True
        self._slots_taken += 1
        active.task = self._spawn(self._work_off(active))

    def _free_slot(self, active: Active) -> None:
        """Let the next delivery begin; once for each."""
        if not active.has_slot:
            return
        active.has_slot = False
        self._slots_taken -= 1
        self._fill()

    def _fill(self) -> None:
        """Begin what waits for a slot."""
        while self._slots_taken < self.concurrency:
            may_begin = self._isolation.is_open and not self._stopping.is_set()
            following = self._fetch.next() if may_begin else None
            if following is None:
                self._wake.set()
                return
            if following.key in self._active:
                self._note_again(following)
            else:
                self._begin(following)

    def _spawn(self, coroutine: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, BrokerError):
            log.critical("worker %s stops on an error of its own", self.worker_id, exc_info=error)
            self._failure = error
        self._wake.set()

    async def _work_off(self, active: Active) -> None:
        try:
            await self._processor.process(active)
        finally:
            del self._active[active.key]
            self._free_slot(active)
            self._isolation.leave(active)
            self._isolation.note_end()

    def _note_ran(self, active: Active, seconds: float) -> None:
        """The function has ended; its end is recorded while the next job begins."""
        self._fetch.note_length(seconds)
        self._free_slot(active)

    def _held(self) -> list[Active]:
        return [*tuple(self._active.values()), *self._fetch.waiting()]

    def _lease_lost(self, active: Active) -> None:
        """From the keep-alive thread: the job may be another worker's by now."""
        active.lease_lost = True
        self._loop.call_soon_threadsafe(lambda: active.interrupt(lease_lost=True))

    def presence(self) -> dict[str, Any]:
        """Return what other processes may know of this worker; callable from any thread."""
        return {
            **process_facts(),
            "worker_id": self.worker_id,
            "queues": self.queues,
            "concurrency": self.concurrency,
            "state": self.state,
            "started_at": self.started_at,
            **running_jobs(self._active),
            "reconnects": self._connection.generation,
            "unrecorded": list(self._processor.claims.unrecorded),
            **asdict(self.counters),
        }

    async def _finish(self) -> None:
        """Let the running jobs end within the grace, then hand everything else back."""
        self._begin_stop()
        self._isolation.stop()
        await self._fetch.stop()
        if self._active:
            log.info("waiting for the running jobs: %d", len(self._active))
        await self._wait_for_jobs(self.settings.shutdown_grace.total_seconds())
        for active in tuple(self._active.values()):
            active.interrupt(lease_lost=False)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=HAND_BACK)
        await self._finisher.close(HAND_BACK)
        for task in tuple(self._tasks):  # the server is away: the jobs are delivered again by themselves
            task.cancel()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=1)
            self.stuck_jobs = len(stuck)
            if stuck:
                log.error("%d jobs refuse to be cancelled; they are run again elsewhere", len(stuck))

    async def _wait_for_jobs(self, grace: float) -> None:
        if not self._tasks:
            return
        hurry = asyncio.ensure_future(self._hurry.wait())
        jobs = asyncio.ensure_future(asyncio.wait(self._tasks))
        await asyncio.wait([hurry, jobs], timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for waiter in (hurry, jobs):
            waiter.cancel()


async def _call_hook(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result
