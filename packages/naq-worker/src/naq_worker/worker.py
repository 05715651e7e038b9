"""The worker: takes jobs from queues, runs as many at a time as it has slots, and stops without losing one."""

import asyncio
import importlib
import inspect
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import asdict
from typing import Any, TypeAlias, Unpack

from naq_core.inspect import list_workers
from naq_core.names import listed, new_id
from naq_core.settings import OtherSettings, Settings
from naq_core.signals import SignalReceiver
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_queues
from naq_core.tasks import Background, beside, finish, services
from naq_core.values import flag, whole
from naq_worker._active import Active, Counters
from naq_worker._attempt import Attempts
from naq_worker._claim import Claims
from naq_worker._control import Control
from naq_worker._dependents import Finisher
from naq_worker._executors.processes import Processes
from naq_worker._executors.threads import Threads
from naq_worker._intake import Intake
from naq_worker._keepalive import KeepAlive
from naq_worker._limits import Limits
from naq_worker._logs import install_log_factory
from naq_worker._metrics import Metrics
from naq_worker._places import Places
from naq_worker._presence import process_facts, running_jobs
from naq_worker._process import Processor
from naq_worker._report import Reports
from naq_worker._rota import Rota
from naq_worker._settle import Settler
from naq_worker._signals import StopOnSignal

log = logging.getLogger(__name__)

Hook: TypeAlias = Callable[[], Awaitable[None] | None]

HAND_BACK = 2.0
"""Seconds that handing back interrupted jobs may take; then as long again without those that ignore their cancellation."""
CANCELLED = 1.0
"""Seconds for what the server did not take within that time to end."""


class Worker:
    """Runs jobs.

    Args:
        queues: Names of the queues, the most important first; or names with weights (`{"mail": 3, "reports": 1}`), for shares
            of the slots. Within a queue the priorities of its jobs decide.
        nats_url: The server; by default the setting.
        concurrency: How many jobs run at a time; by default the setting, 10.
        settings: Ready settings, instead of those of the environment.
        burst: Leave when the queues are empty, instead of waiting for more.
        on_startup: Functions (plain or async) called before the first job, in each child process too; one that raises stops the
            worker. Each attempt runs in a copy of the context (`contextvars`) that they leave behind.
        on_shutdown: Functions called after the last job, all of them; the first error is raised afterwards.
        handle_signals: Stop on SIGTERM and SIGINT while it runs, at once on a second one; the handlers of the program are
            restored afterwards. By default signals are left to the program, which calls `stop()`.
        imports: Names of modules to import first, here and in each child process.
        overrides: Any other setting by its name; it wins over the ready settings.

    Raises:
        InvalidNameError, ConfigurationError: A name or setting is wrong.
    """

    def __init__(  # noqa: PLR0913 - options by keyword
        self,
        queues: Sequence[str] | Mapping[str, float] | str,
        nats_url: str | None = None,
        concurrency: int | None = None,
        *,
        settings: Settings | None = None,
        burst: bool = False,
        on_startup: Iterable[Hook] = (),
        on_shutdown: Iterable[Hook] = (),
        handle_signals: bool = False,
        imports: Iterable[str] = (),
        **overrides: Unpack[OtherSettings],
    ) -> None:
        concurrency = None if concurrency is None else whole(concurrency, "concurrency", 1, 100_000)
        self.settings = Settings.choose(settings, type(self), nats_url=nats_url, concurrency=concurrency, **overrides)
        self.concurrency = self.settings.concurrency
        self._rota = Rota([queues] if isinstance(queues, str) else queues)
        self.queues = self._rota.queues
        self.burst = flag(burst, "burst")
        self.worker_id = f"{socket.gethostname().split('.')[0]}-{os.getpid()}-{new_id()[-8:]}".replace("_", "-")
        self.counters = Counters()
        self.started_at = 0.0
        self._imports = (imports,) if isinstance(imports, str) else tuple(imports)
        for module in self._imports:
            importlib.import_module(module)
        self._on_startup = tuple(on_startup)
        self._on_shutdown = tuple(on_shutdown)
        self._signals = SignalReceiver(StopOnSignal(self), is_on=flag(handle_signals, "handle_signals"))
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._quiet = False
        self.is_serving = False
        """It takes jobs, or hands them back: between the hooks."""
        self._failure: BaseException | None = None
        self._intake: Intake
        self._stuck: set[asyncio.Task[None]] = set()
        self.stuck_jobs = 0
        """After `run()`: jobs that were handed back, but whose functions ignore their cancellation and still run."""
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<Worker {self.worker_id} of {listed(self.queues)}>"

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
        if self.is_serving:
            self._intake.is_quiet = quiet
            self._intake.wake.set()

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
        if self.is_serving:
            self._intake.stop()

    async def run(self) -> None:
        """Run until `stop()`, or with `burst` until the queues are empty. Once per worker; after a `stop()` it returns at once.

        Cancelling it is a stop that does not wait: the running jobs are handed back, then `CancelledError` is raised. So it is
        where `asyncio.run` ends under it; use `stop()` to give running jobs time.

        Raises:
            BrokerError: No usable server, or its connection is lost for good. Whatever a hook raises.
            RuntimeError: It has run before; or `handle_signals` outside the main thread.
        """
        if self.started_at:
            raise RuntimeError(f"{self!r} has already run; create a new one")
        self._signals.check_thread()
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self.started_at = time.time()
        if not self._stopping.is_set():
            await finish(self._live(), self._on_cancel, name="naq-worker")
        log.info("worker %s has stopped; jobs done: %d", self.worker_id, self.counters.processed)

    def _on_cancel(self, life: "asyncio.Task[None]") -> None:
        """Return the jobs at once: the program is ending, or `run()` was cancelled."""
        if not self.is_serving:
            life.cancel()
            return
        if not self._hurry.is_set():
            log.warning("worker %s was cancelled; returning the running jobs to their queues", self.worker_id)
        self.stop_now()
        self._interrupt()

    async def _live(self) -> None:
        async with Connection(self.settings, name=f"naq-worker-{self.worker_id}", keeps=True, is_hidden=True) as connection:
            self._connection = connection
            self.started_at = connection.clock.now()
            await ensure_queues(connection, self.queues)
            self._assemble(connection)
            for hook in self._on_startup:
                await _call_hook(hook)
            self._intake.context = copy_context()
            try:
                with self._signals:  # before its presence: who sees the worker may stop it
                    await self._serve()
            finally:
                self.is_serving = False
                failure = await self._shut_down()
            if failure is not None:
                raise failure

    async def _shut_down(self) -> BaseException | None:
        """Call all shutdown hooks, whatever they raise, and return the first error."""
        first: BaseException | None = None
        for hook in self._on_shutdown:
            try:
                await _call_hook(hook)
            except BaseException as error:
                log.error("shutdown hook %r failed", hook, exc_info=error)  # noqa: TRY400 - only the first error is raised
                first = first or error
        return first

    def _assemble(self, connection: Connection) -> None:
        """Make the parts that work together while the connection lives."""
        settings = self.settings
        self._jobs = Background(self._on_own_error, is_hidden=True)
        places = Places(settings.processes or os.cpu_count() or 1, self.concurrency)
        self._intake = intake = Intake(connection, self._rota, self.concurrency, self._jobs, places, burst=self.burst)
        self._finisher = Finisher(connection, intake.wake.set)
        self._limits = Limits(connection, self.worker_id, self.queues, intake.holds)
        self._metrics = Metrics(connection, self.worker_id, self.queues, lambda: intake.fetch.places)
        self._control = Control(connection, self, intake.find, intake.held)
        self._keepalive = KeepAlive(settings, self.worker_id, intake.held, self.presence, self._lease_lost, connection.clock)
        keeps_logs = settings.job_logs == "on"
        processes = Processes(
            places.size,
            settings.job_serializer,
            settings.allowed_functions,
            logs=keeps_logs,
            imports=self._imports,
            hooks=self._on_startup,
        )
        self._attempts = Attempts(settings, Threads(), processes)
        settler = Settler(connection, self.counters, self._finisher.finish, self._limits.is_limited)
        processor = self._processor = Processor(
            connection=connection,
            counters=self.counters,
            claims=Claims(connection, self.worker_id, intake.isolation, settler.put_off),
            attempts=self._attempts,
            settler=settler,
            finisher=self._finisher,
            limits=self._limits,
            reports=Reports(settler.progress, self._jobs.start, self._loop, self._thread, connection.clock),
            metrics=self._metrics,
            isolation=intake.isolation,
            finds_place=intake.finds_place,
            on_ran=intake.on_ran,
            on_given_up=self._settle_without,
        )
        intake.process = processor.process

    async def _serve(self) -> None:
        self.is_serving = True
        self._set_quiet(self._quiet)
        if self._stopping.is_set():
            self._intake.stop()
        try:
            await self._control.start()
            await self._limits.start()
            await self._keepalive.start()  # last: who sees the worker's presence may count on all of it
            if self.settings.job_logs == "on":
                install_log_factory()
            await self._run_services()
        finally:
            await self._attempts.processes.close()
            self._attempts.threads.close()
            await self._metrics.store_last()
            await self._keepalive.stop()

    async def _run_services(self) -> None:
        """Take jobs until the worker is to stop, beside its services; whatever ends them, what is in hand is handed back."""
        try:
            async with services() as running:
                running.start(self._keepalive.watch(), "naq-keepalive")
                running.start(self._finisher.run(), "naq-finisher")
                running.start(self._metrics.run(), "naq-metrics")
                running.start(self._control.run(), "naq-control")
                await self._take_jobs()
                await self._leave()
        except BaseException as error:
            log.critical("worker %s stopped by an error: %r", self.worker_id, error)
            self._hurry.set()
            await self._leave()
            raise
        finally:
            await self._finish_what_ended()
        if self._failure is not None:
            raise self._failure

    async def _take_jobs(self) -> None:
        intake = self._intake
        await intake.fetch.start()
        log.info("worker %s takes jobs from %s, %d at a time", self.worker_id, listed(self.queues), self.concurrency)
        intake.wake.set()
        while not self._stopping.is_set() and self._failure is None:
            await intake.turn()
            self._signals.check()
            if self._connection.lost is not None:
                raise self._connection.lost
            if await intake.follow_quiet():
                self._keepalive.beat_soon()
            if intake.is_quiet:
                continue
            if self.burst and self._finisher.is_idle and await self._is_drained():  # before asking again: that makes it unknown
                break
            await intake.fetch.ask(self._stopping.is_set)

    async def _is_drained(self) -> bool:
        processor = self._processor
        handed_back = self._limits.handed_back + processor.claims.handed_back + processor.settler.handed_back
        has_retries = self._intake.has_put_off or self.counters.retried > 0 or handed_back > 0
        return await self._intake.fetch.is_drained(has_retries=has_retries)

    async def _leave(self) -> None:
        """Let the running jobs end within the grace, then hand everything else back. Once more, it is quick."""
        self._begin_stop()
        self._keepalive.beat_soon()
        try:
            await self._intake.withdraw()
            if self._intake.active and not self._hurry.is_set():
                log.info("waiting for the running jobs: %d", len(self._intake.active))
                await self._wait_for_jobs(self.settings.shutdown_grace.total_seconds())
        finally:
            await self._hand_back()

    async def _hand_back(self) -> None:
        self._interrupt()
        await self._settled(HAND_BACK)
        if self._give_up_running():
            await self._settled(HAND_BACK)
        for task in tuple(self._jobs.tasks):  # the server is away, or a function runs on
            task.cancel()
        await self._settled(CANCELLED)
        self.stuck_jobs = sum(not task.done() for task in self._stuck)

    def _interrupt(self) -> None:
        for active in tuple(self._intake.active.values()):
            active.interrupt(lease_lost=False)

    def _give_up_running(self) -> bool:
        """Settle the jobs whose functions ignore their cancellation; return whether there are any."""
        running = [active.running for active in self._intake.active.values() if active.running and not active.is_given_up]
        for each in running:
            each.give_up()
        return bool(running)

    async def _finish_what_ended(self) -> None:
        try:
            async with asyncio.timeout(HAND_BACK):
                await self._finisher.flush()
        except Exception:
            log.exception("ended jobs will be completed on redelivery")

    async def _settled(self, patience: float) -> None:
        """Wait until nothing is under way any more but functions that were given up."""
        if pending := self._jobs.tasks - self._stuck:
            await asyncio.wait(pending, timeout=patience)

    async def _wait_for_jobs(self, grace: float) -> None:
        async with beside(self._hurry.wait()) as hurry, beside(self._settled(grace)) as settled:
            await asyncio.wait([hurry, settled], return_when=asyncio.FIRST_COMPLETED)

    def _settle_without(self, active: Active, ending: Coroutine[Any, Any, None]) -> None:
        """Settle a job whose function goes on after its cancellation, in a task of its own."""
        self._stuck.add(active.task)
        active.task.add_done_callback(self._stuck.discard)

        async def settle() -> None:
            try:
                await ending
            finally:
                self._intake.forget(active)

        _ = self._jobs.start(settle(), "naq-given-up")

    def _on_own_error(self, error: BaseException) -> None:
        log.critical("worker %s stopped by an internal error", self.worker_id, exc_info=error)
        self._failure = self._failure or error
        self._hurry.set()
        self._intake.wake.set()

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
            **running_jobs(self._intake.active, self._connection.clock.now),
            "clock": round(self._connection.clock.skew, 3),
            "reconnects": self._connection.generation,
            "unrecorded": list(self._processor.claims.unrecorded),
            **asdict(self.counters),
        }


async def _call_hook(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result
