"""One run of a worker, from its first look at the queues until everything in hand is finished or handed back."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from naq_core.hooks import Hooks
from naq_core.manage.declared import apply_policies
from naq_core.names import listed
from naq_core.opened import OpenResources
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_queues
from naq_core.tasks import Background, beside, services, until
from naq_worker._active import Active, Counters
from naq_worker._attempt import Attempts
from naq_worker._claim import Claims
from naq_worker._commands import Commands, Controllable
from naq_worker._executors.processes import Processes
from naq_worker._executors.threads import Threads
from naq_worker._fair_share import FairShare
from naq_worker._finisher import Finisher
from naq_worker._intake import Intake
from naq_worker._keepalive import KeepAlive
from naq_worker._keys import Keys
from naq_worker._limits import Limits
from naq_worker._logs import install_log_factory
from naq_worker._metrics import Metrics
from naq_worker._own_metrics import WorkerFigures
from naq_worker._patterns import PatternQueues
from naq_worker._places import Places
from naq_worker._presence import process_facts, running_jobs
from naq_worker._process import Processor
from naq_worker._report import Reports
from naq_worker._settle import Settler
from naq_worker._stacks import Stacks

log = logging.getLogger("naq_worker.worker")  # one name for all that a worker says: programs filter by it

STOP_PATIENCE = 1.0
"""Seconds that a call to the server may still take after a stop: longer only where the server is away."""
HAND_BACK = 2.0
"""Seconds that handing back interrupted jobs may take; then as long again without those that ignore their cancellation."""
CANCELLED = 1.0
"""Seconds for what the server did not take within that time to end."""


@dataclass(slots=True)
class Orders:
    """What a worker was asked to do, before or during its run."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Interrupt the running jobs, too."""
    quiet: bool = False
    keeps_figures: bool = False
    """Add up what is counted, for `figures`."""


class RunningWorker(Controllable, Protocol):
    """The worker whose run it is."""

    name: str | None
    queues: list[str]
    concurrency: int
    burst: bool
    counters: Counters
    started_at: float
    policies: Mapping[str, Mapping[str, Any]]


class Life:
    """The parts of a worker that work together while its connection lives.

    Args:
        connection: Open.
        worker: The worker.
        shares: Its queues.
        orders: What it is asked; see `follow_orders`.
        imports: Names of modules that each child process imports.
        hooks: Those of the settings, not started yet.
        each_turn: Called by the loop that takes jobs, between jobs and at least once a second.
    """

    def __init__(
        self,
        connection: Connection,
        worker: RunningWorker,
        shares: FairShare,
        orders: Orders,
        *,
        imports: Iterable[str],
        hooks: Hooks,
        each_turn: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._settings = connection.settings
        self._worker = worker
        self._shares = shares
        self._orders = orders
        self._imports = tuple(imports)
        self._hooks = hooks
        self._each_turn = each_turn
        self._failure: BaseException | None = None
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._jobs = Background(self._on_own_error, is_hidden=True)
        self._stuck: set[asyncio.Task[None]] = set()
        self.has_begun = False
        """It has taken jobs: its connection is open and its consumers are bound."""
        self.stuck_jobs = 0
        """At the end: jobs that were handed back, but whose functions ignore their cancellation and still run."""
        places = Places(self._settings.processes or os.cpu_count() or 1, worker.concurrency)
        self._intake = Intake(connection, shares, worker.concurrency, self._jobs, places, burst=worker.burst)
        self._assemble(places)

    def _assemble(self, places: Places) -> None:
        connection, settings, worker, intake = self._connection, self._settings, self._worker, self._intake
        self._limits = Limits(connection, worker.worker_id, worker.queues, intake.holds)
        on_idle = intake.wake.set if worker.burst else lambda: None
        self._keys = Keys(connection, worker.worker_id, self._limits.key_rule, on_idle)
        self._finisher = Finisher(connection, self._keys, on_idle)
        self._metrics = Metrics(connection, worker.worker_id, worker.queues, lambda: intake.fetch.places, self._shares.patterns)
        self._commands = Commands(connection, worker, intake.find, intake.held)
        processes = Processes(
            places.size,
            settings.job_serializer,
            settings.allowed_functions,
            logs=settings.job_logs == "on",
            imports=self._imports,
            hooks=settings.hooks,
            middleware=settings.middleware,
        )
        threads = Threads()
        self._resources = OpenResources(threads.run, is_hidden=True)
        self._attempts = Attempts(settings, threads, processes, connection.layers, self._resources, intake)
        self._keepalive = KeepAlive(
            settings,
            worker.worker_id,
            intake.held,
            self.presence,
            self._lease_lost,
            connection.clock,
            Stacks(intake.held, threads, processes, connection.clock.now).answer,
        )
        self._patterns = PatternQueues(
            connection, self._shares, intake.fetch, self._limits, intake.wake.set, self._keepalive.beat_soon
        )
        settler = Settler(connection, worker.counters, intake.backpressure, self._finisher.finish, self._limits.is_limited)
        self._processor = Processor(
            connection=connection,
            counters=worker.counters,
            claims=Claims(connection, worker.worker_id, intake.isolation, settler.put_off),
            attempts=self._attempts,
            settler=settler,
            finisher=self._finisher,
            limits=self._limits,
            keys=self._keys,
            reports=Reports(settler.progress, self._jobs.start, self._loop, self._thread, connection.clock),
            metrics=self._metrics,
            isolation=intake.isolation,
            finds_place=intake.finds_place,
            on_ran=intake.on_ran,
            on_given_up=self._settle_without,
        )
        intake.process, intake.ring = self._processor.process, self._keys.ring

    @property
    def is_connected(self) -> bool:
        """Whether the server can be reached, as far as is known."""
        return self._connection.is_connected

    @property
    def takes_jobs(self) -> bool:
        """Whether the consumers of its queues are bound and the server can be reached."""
        return self.has_begun and self._intake.fetch.is_open and self.is_connected

    def figures(self) -> WorkerFigures:
        """Return what it has counted since `keep_figures`; from its event loop."""
        presence = self.presence()
        return WorkerFigures(
            rows=self._metrics.totals(),
            in_progress=dict.fromkeys(self._worker.queues, 0) | presence["in_progress"],
            slots=self._worker.concurrency,
            takes_jobs=self.takes_jobs and self._worker.state == "running",
            reconnects=presence["reconnects"],
            rss=presence["rss"],
            started_at=self._worker.started_at,
        )

    @property
    def in_hand(self) -> int:
        """How many jobs run, or have just ended and are being recorded."""
        return len(self._intake.active)

    async def prepare(self) -> None:
        """Bring about what the queues need on the server, and start the hooks.

        Raises:
            BrokerError: The server refuses or is away. Whatever a hook raises.
        """
        if not await self._until_stopped(ensure_queues(self._connection, self._worker.queues)):
            return
        if policies := self._worker.policies:
            await self._until_stopped(apply_policies(self._connection, filter(self._shares.covers, policies), policies))
        await self._hooks.start_unless(self._orders.stop)
        self._intake.context = self._resources.context = copy_context()

    async def serve(self) -> None:
        """Take jobs until the worker is to stop, or with `burst` until its queues are empty.

        Raises:
            BrokerError: The connection is lost for good. Whatever ended a service.
        """
        self.follow_orders()
        try:
            if await self._until_stopped(self._start()):
                await self._run_services()
        finally:
            await self._attempts.batches.close()
            await self._attempts.processes.close()
            await self._resources.close()
            self._attempts.threads.close()
            await self._metrics.store_last()
            await self._keepalive.stop()

    def follow_orders(self) -> None:
        """Take note of what has changed in the orders; the loop acts on it soon."""
        if self._orders.stop.is_set():
            self._intake.stop()
        self._intake.is_quiet = self._orders.quiet
        self._intake.wake.set()

    def resize(self, slots: int) -> None:
        """Run that many jobs at a time from now on; from the event loop."""
        self._intake.resize(slots)
        self._keepalive.beat_soon()

    async def _start(self) -> None:
        await self._commands.start()
        await self._limits.start()
        await self._patterns.start()
        await self._keepalive.start()  # last: who sees the worker's presence may count on all of it
        if self._settings.job_logs == "on":
            install_log_factory()
        if self._orders.keeps_figures:
            self._metrics.keep_totals()

    async def _until_stopped(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Run something until it has ended, and not for much longer than until a stop; return whether it has ended."""
        return await until(self._orders.stop, coroutine, STOP_PATIENCE)

    async def _run_services(self) -> None:
        """Take jobs until the worker is to stop, beside its services; whatever ends them, what is in hand is handed back."""
        try:
            async with services() as running:
                running.start(self._keepalive.watch(), "naq-keepalive")
                running.start(self._finisher.run(), "naq-finisher")
                running.start(self._keys.run(), "naq-keys")
                running.start(self._metrics.run(), "naq-metrics")
                running.start(self._commands.run(), "naq-control")
                await self._until_stopped(self._take_jobs())
                await self._leave()
        except BaseException as error:
            log.critical("worker %s stopped by an error: %r", self._worker.worker_id, error)
            self._orders.hurry.set()
            await self._leave()
            raise
        finally:
            await self._finish_what_ended()
        if self._failure is not None:
            raise self._failure

    async def _take_jobs(self) -> None:
        intake, worker = self._intake, self._worker
        await intake.fetch.start()
        served = listed(self._shares.patterns or worker.queues)
        log.info("worker %s takes jobs from %s, %d at a time", worker.worker_id, served, worker.concurrency)
        intake.wake.set()
        self.has_begun = True
        while not self._orders.stop.is_set() and self._failure is None:
            await intake.turn()
            self._each_turn()
            if self._connection.lost is not None:
                raise self._connection.lost
            await intake.reduce_orders()
            if await intake.follow_quiet():
                self._keepalive.beat_soon()
            if intake.is_quiet:
                continue
            await self._patterns.follow()
            is_idle = self._finisher.is_idle and self._keys.is_idle
            if worker.burst and is_idle and await self._is_drained():  # before asking again: that makes it unknown
                break
            await intake.fetch.ask(self._orders.stop.is_set)

    async def _is_drained(self) -> bool:
        processor = self._processor
        handed_back = self._limits.handed_back + processor.claims.handed_back + processor.settler.handed_back
        has_retries = self._intake.has_put_off or self._worker.counters.retried > 0 or handed_back > 0
        return await self._intake.fetch.is_drained(has_retries=has_retries)

    async def _leave(self) -> None:
        """Let the running jobs end within the grace, then hand everything else back. Once more, it is quick."""
        self._orders.stop.set()
        self._intake.stop()
        self._attempts.batches.hurry()
        self._keepalive.beat_soon()
        try:
            await self._intake.withdraw()
            if self._intake.active and not self._orders.hurry.is_set():
                log.info("waiting for the running jobs: %d", len(self._intake.active))
                await self._wait_for_jobs(self._settings.shutdown_grace.total_seconds())
        finally:
            await self._hand_back()

    async def _hand_back(self) -> None:
        self.interrupt()
        await self._settled(HAND_BACK)
        if self._give_up_running():
            await self._settled(HAND_BACK)
        for task in tuple(self._jobs.tasks):  # the server is away, or a function runs on
            task.cancel()
        await self._settled(CANCELLED)
        self.stuck_jobs = sum(not task.done() for task in self._stuck)

    def interrupt(self) -> None:
        """Interrupt the running jobs; each is handed back."""
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
                await self._keys.flush()
        except Exception:
            log.exception("ended jobs will be completed on redelivery")

    async def _settled(self, patience: float) -> None:
        """Wait until nothing is under way any more but functions that were given up."""
        if pending := self._jobs.tasks - self._stuck:
            await asyncio.wait(pending, timeout=patience)

    async def _wait_for_jobs(self, grace: float) -> None:
        async with beside(self._orders.hurry.wait()) as hurry, beside(self._settled(grace)) as settled:
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
        log.critical("worker %s stopped by an internal error", self._worker.worker_id, exc_info=error)
        self._failure = self._failure or error
        self._orders.hurry.set()
        self._intake.wake.set()

    def _lease_lost(self, active: Active) -> None:
        """From the keep-alive thread: the job may be another worker's by now."""
        active.lease_lost = True
        self._loop.call_soon_threadsafe(lambda: active.interrupt(lease_lost=True))

    def presence(self) -> dict[str, Any]:
        """Return what other processes may know of this worker; called from the keep-alive thread."""
        worker, clock = self._worker, self._connection.clock
        return {
            **process_facts(),
            "worker_id": worker.worker_id,
            **({} if worker.name is None else {"name": worker.name}),
            "queues": worker.queues,
            **({"patterns": self._shares.patterns} if self._shares.patterns else {}),
            "concurrency": worker.concurrency,
            "state": worker.state,
            "started_at": worker.started_at,
            **running_jobs(self._intake.active, clock.now),
            "clock": round(clock.skew, 3),
            "reconnects": self._connection.generation,
            "unrecorded": list(self._processor.claims.unrecorded),
            **asdict(worker.counters),
        }
