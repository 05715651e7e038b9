"""The scheduler: one of any number of instances leads, and fires what is due."""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Unpack

from naq_core.decoding import complain
from naq_core.errors import BrokerError, DecodeError
from naq_core.health import Answer, serve
from naq_core.hooks import Hooks
from naq_core.names import new_id
from naq_core.schedules import ScheduleSpec, reconcile
from naq_core.settings import ServiceSettings, Settings
from naq_core.signals import SignalReceiver
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_schedules, ensure_streams, ensure_tally
from naq_core.tasks import finish, hide, services, until
from naq_core.transport.watch import Watch
from naq_core.values import flag, seconds, text, whole
from naq_scheduler._agenda import Agenda, KnownSchedule
from naq_scheduler._fire import Firer
from naq_scheduler._lease import Lease, Solo
from naq_scheduler._metrics import SchedulerMetrics
from naq_scheduler._sweep import Sweeper

log = logging.getLogger(__name__)

AT_ONCE = 256
"""Schedules that are fired at the same time."""
LONGEST_SLEEP = 5.0
"""Seconds after which the clock is looked at anyhow: it may have been set, or the machine suspended."""
SHORTEST_SWEEP = 0.05
BREATH = 0.01
"""Seconds between two looks at one schedule."""
AGAIN = 1.0
LATER = 60.0
STOP_PATIENCE = 5.0


class Scheduler:
    """Fires the recurring schedules of a namespace: `await Scheduler().run()`.

    Start as many as you like: one leads, the others follow and take over when it stops (at once) or dies (after the setting
    `scheduler_ttl`, and at most a third more). Whatever happens, each time of a schedule makes at most one job.

    Args:
        nats_url: The server; by default the setting `nats_url`.
        enable_ha: Elect a leader among all instances. False: lead without asking, and warn where another one runs.
        instance_id: Its name in logs and in the lease; by default host and process id.
        http_port: Answer `/livez`, `/readyz`, `/startupz` and `/metrics` there; None: nowhere. 0 takes any free port, see
            `http_address`.
        http_host: The address to listen on. Default: this machine only.
        sweep_interval: Seconds between two looks of the leader for what crashes have left behind.
        declared: Schedules to be brought about at the start, by their origin (`naq_core.schedules.reconcile`).
        handle_signals: Stop on SIGTERM and SIGINT while it runs; the handlers of the program are restored afterwards. By default
            signals are left to the program, which calls `stop()`.
        settings: Ready settings, instead of those of the environment.
        overrides: Any other setting by its name; it wins over the ready settings.

    Raises:
        ConfigurationError: A setting is wrong.
    """

    def __init__(  # noqa: PLR0913 - options by keyword
        self,
        nats_url: str | None = None,
        *,
        enable_ha: bool = True,
        instance_id: str | None = None,
        http_port: int | None = None,
        http_host: str = "127.0.0.1",
        sweep_interval: float = 30.0,
        declared: Mapping[str, Sequence[ScheduleSpec]] | None = None,
        handle_signals: bool = False,
        settings: Settings | None = None,
        **overrides: Unpack[ServiceSettings],
    ) -> None:
        self.settings = Settings.choose(settings, type(self), nats_url=nats_url, **overrides)
        self.enable_ha = flag(enable_ha, "enable_ha")
        instance_id = None if instance_id is None else text(instance_id, "instance_id", most=128)
        self.instance_id = f"{instance_id or f'{socket.gethostname()}-{os.getpid()}'}-{new_id()[-6:]}"
        self.metrics = SchedulerMetrics()
        self.http_address: tuple[str, int] | None = None
        self._http = None if http_port is None else (text(http_host, "http_host"), whole(http_port, "http_port", 0, 65535))
        self._sweep_interval = seconds(sweep_interval, "sweep_interval", least=SHORTEST_SWEEP)
        self._declared = declared or {}
        self._signals = SignalReceiver(self._on_signal, is_on=flag(handle_signals, "handle_signals"))
        self._has_run = False
        self._agenda = Agenda()
        self._lease: Lease | Solo | None = None
        self._watch: Watch | None = None
        self._connection: Connection | None = None
        self._stop = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._alive_at = time.monotonic()

    @property
    def is_leader(self) -> bool:
        """Whether this instance leads right now."""
        return self._lease is not None and self._lease.is_held

    @property
    def is_ready(self) -> bool:
        """Whether it is connected and knows all schedules: it leads, or could take over."""
        connected = self._connection is not None and self._connection.is_connected
        return connected and self._watch is not None and self._watch.ready.is_set() and not self._stop.is_set()

    @property
    def has_begun(self) -> bool:
        """Whether it has been connected and has read all schedules since its start."""
        return self._watch is not None and self._watch.ready.is_set()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def schedules(self) -> int:
        """How many schedules it knows."""
        return len(self._agenda)

    def stop(self) -> None:
        """Finish what is being fired, hand the leadership over and end `run()`; callable from the event loop."""
        self._stop.set()

    async def run(self) -> None:
        """Run until `stop()`. Cancelling it is a stop too, after which `CancelledError` is raised. Once per scheduler.

        After a `stop()` it returns at once.

        Raises:
            RuntimeError: It has run before; or `handle_signals` outside the main thread.
            BrokerUnavailableError: No server answers at the start. A connection lost later is reopened without limit.
            JetStreamDisabledError, ServerTooOldError, ConfigurationError: Not the server NAQ needs.
            OSError: The HTTP port cannot be had.
        """
        if self._has_run:
            raise RuntimeError(f"scheduler {self.instance_id} has already run; create a new one")
        self._signals.check_thread()
        self._has_run = True
        if not self._stop.is_set():
            await finish(self._run(), self._on_cancel, name="naq-scheduler")
        log.info("scheduler %s has stopped", self.instance_id)

    def _on_signal(self, name: str) -> None:
        log.info("%s: handing over", name)
        self.stop()

    def _on_cancel(self, life: "asyncio.Task[None]") -> None:
        """Release the leadership: the program is ending, or `run()` was cancelled."""
        if self._lease is None:
            life.cancel()
        self.stop()

    async def _run(self) -> None:
        hooks = Hooks(self.settings.hooks, self.settings.source("hooks"))
        name = f"naq-scheduler-{self.instance_id}"
        async with Connection(self.settings, name=name, keeps=True, is_hidden=True) as connection:
            try:
                with self._signals:  # before the hooks, which are to end as they have begun
                    if await until(self._stop, self._prepare(connection)):
                        await hooks.start_unless(self._stop)
                    if not self._stop.is_set():
                        await self._take_part(connection)
            finally:
                failure = await hooks.stop()
            if failure is not None:
                raise failure

    async def _take_part(self, connection: Connection) -> None:
        """Stand for election, and fire what is due while it leads."""
        self._connection, self._agenda.now = connection, connection.clock.now
        kind = Lease if self.enable_ha else Solo
        lease = self._lease = kind(connection, self.instance_id, self._on_leadership)
        try:
            await self._serve(connection, lease)
        finally:
            await lease.release()

    async def _prepare(self, connection: Connection) -> None:
        _ = connection.layers  # a wrong middleware is refused now, not at the first firing
        await ensure_streams(connection)
        await ensure_schedules(connection)
        await ensure_tally(connection)
        for origin, specs in self._declared.items():
            await reconcile(connection, origin, specs)

    async def _serve(self, connection: Connection, lease: Lease | Solo) -> None:
        names = connection.names
        watch = self._watch = Watch(connection, names.schedules_stream, names.schedule("*"), self._agenda.put, self._agenda.clear)
        elections = Watch(connection, names.leases_stream, names.lease("scheduler"), lease.on_lease)
        sweeper = Sweeper(connection, lease, self.metrics, self._sweep_interval)
        firer = Firer(connection, lease, self._agenda, self.metrics)
        async with self._serving(), services() as running:
            running.start(watch.run(), "follow schedules")
            running.start(elections.run(), "follow the lease")
            running.start(self._lead(lease, elections), "lease")
            running.start(sweeper.run(), "sweeps")
            log.info("scheduler %s started at %s", self.instance_id, connection.url)
            await self._fire_until_stopped(connection, lease, firer)

    async def _lead(self, lease: Lease | Solo, elections: Watch) -> None:
        """Stand for election only when everything is known that a leader must know."""
        if self._watch is not None:
            await self._watch.ready.wait()
        await elections.ready.wait()
        await lease.run()

    def _on_leadership(self, leads: bool) -> None:
        self.metrics.add("leadership_changes")
        if leads:
            self._agenda.changed.set()

    async def _fire_until_stopped(self, connection: Connection, lease: Lease | Solo, firer: Firer) -> None:
        try:
            async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as firings:
                await until(self._stop, self._keep_firing(connection, lease, firer, firings))
                lease.stop()
                patience.reschedule(asyncio.get_running_loop().time() + STOP_PATIENCE)
        except TimeoutError:
            log.warning("the next leader will fire the remaining runs")
        if connection.lost is not None:  # not from within the group, which would wrap it
            raise connection.lost

    async def _keep_firing(self, connection: Connection, lease: Lease | Solo, firer: Firer, firings: asyncio.TaskGroup) -> None:
        while connection.lost is None:
            while lease.is_held and (entry := self._agenda.take_due(connection.clock.now())) is not None:
                await self._slots.acquire()
                hide(firings.create_task(self._fire(connection, firer, entry)))
            await self._sleep(connection, lease)

    async def _fire(self, connection: Connection, firer: Firer, entry: KnownSchedule) -> None:
        not_before = connection.clock.now() + BREATH
        try:
            await firer.fire(entry)
        except DecodeError as error:
            complain(log, f"schedule {entry.key}", error, "one that never fires")
            not_before = connection.clock.now() + LATER
        except BrokerError as error:
            log.warning("schedule %s failed to fire and will be retried: %s", entry.key, error)
            self.metrics.add("failed")
            not_before = connection.clock.now() + AGAIN
        except Exception:
            # One schedule that cannot be understood must not stop the others.
            log.exception("schedule %s cannot be fired", entry.key)
            self.metrics.add("failed")
            not_before = connection.clock.now() + LATER
        finally:
            self._slots.release()
            self._agenda.done(entry, not_before=not_before)

    async def _sleep(self, connection: Connection, lease: Lease | Solo) -> None:
        """Wait until the next schedule is due or something has changed."""
        self._alive_at = time.monotonic()
        self._agenda.changed.clear()
        due = self._agenda.next_due() if lease.is_held else None
        pause = LONGEST_SLEEP if due is None else min(LONGEST_SLEEP, due - connection.clock.now())
        if pause > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._agenda.changed.wait()
        else:
            await asyncio.sleep(0)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        if self._http is None:
            yield
            return
        host, port = self._http
        routes = {"/livez": self._live, "/readyz": self._ready, "/startupz": self._started, "/metrics": self._metrics_text}
        async with serve(routes, host, port) as found:
            self.http_address = (host, found)
            log.info("health and metrics at http://%s:%d", host, found)
            yield

    def _live(self) -> Answer:
        stuck = time.monotonic() - self._alive_at > 6 * LONGEST_SLEEP
        return (503, "the event loop is blocked\n") if stuck else (200, "alive\n")

    def _started(self) -> Answer:
        return (200, "started\n") if self.has_begun else (503, "is starting\n")

    def _ready(self) -> Answer:
        if not self.is_ready:
            return 503, "not connected, or still reading the schedules\n"
        return 200, "leader\n" if self.is_leader else "follower\n"

    def _metrics_text(self) -> Answer:
        reconnects = 0 if self._connection is None else self._connection.generation
        return 200, self.metrics.text(
            reconnects=reconnects, scheduler_leader=float(self.is_leader), scheduler_schedules=self.schedules
        )
