"""The worker: takes jobs from queues, runs as many at a time as it has slots, and stops without losing one."""

import asyncio
import importlib
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Unpack

from naq_core.hooks import Hook, Hooks, with_start_and_end
from naq_core.inspect import list_workers
from naq_core.names import check_worker_name, listed, new_id
from naq_core.settings import OtherSettings, Settings
from naq_core.signals import SignalReceiver
from naq_core.storage.connection import Connection
from naq_core.tasks import finish
from naq_core.values import flag, members, whole
from naq_worker._active import Counters
from naq_worker._fair_share import FairShare
from naq_worker._life import Life, Orders
from naq_worker._own_metrics import WorkerFigures
from naq_worker._signals import StopOnSignal

log = logging.getLogger(__name__)

MOST_SLOTS = 100_000
"""Jobs that one worker may run at a time."""


class Worker:
    """Runs jobs.

    Args:
        queues: Names of the queues, the most important first; or names with weights (`{"mail": 3, "reports": 1}`), for shares
            of the slots. Within a queue the priorities of its jobs decide. `*` in a name makes it a pattern (`cust-*`): the
            worker takes jobs in turn from all queues that match, also from those that appear later, and leaves deleted ones.
        nats_url: The server; by default the setting.
        concurrency: How many jobs run at a time; by default the setting, 10.
        settings: Ready settings, instead of those of the environment.
        burst: Leave when the queues are empty, instead of waiting for more.
        handle_signals: Stop on SIGTERM and SIGINT while it runs, at once on a second one; the handlers of the program are
            restored afterwards. By default signals are left to the program, which calls `stop()`.
        imports: Names of modules to import first, here and in each child process.
        name: What its id begins with, followed by the process id and a random part; by default the host's name. Several workers
            may have the same name.
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
        handle_signals: bool = False,
        imports: Iterable[str] = (),
        name: str | None = None,
        on_startup: Iterable[Hook] = (),
        on_shutdown: Iterable[Hook] = (),
        **overrides: Unpack[OtherSettings],
    ) -> None:
        concurrency = None if concurrency is None else whole(concurrency, "concurrency", 1, MOST_SLOTS)
        self.settings = Settings.choose(settings, type(self), nats_url=nats_url, concurrency=concurrency, **overrides)
        if on_startup or on_shutdown:
            warnings.warn("on_startup and on_shutdown are now hooks", DeprecationWarning, stacklevel=2)
            self.settings = with_start_and_end(self.settings, on_startup, on_shutdown)
        self.concurrency = self.settings.concurrency
        self._shares = FairShare([queues] if isinstance(queues, str) else queues)
        self.queues = self._shares.queues
        """Those that it serves; with patterns they change while it runs."""
        self.burst = flag(burst, "burst")
        self.name = None if name is None else check_worker_name(name)
        self.worker_id = f"{self.name or _host()}-{os.getpid()}-{new_id()[-8:]}"
        self.counters = Counters()
        self.started_at = 0.0
        self.policies: Mapping[str, Mapping[str, Any]] = {}
        """Parts of its queues' policies that are set at its start."""
        self._imports = (imports,) if isinstance(imports, str) else tuple(members(imports, "imports", "a list of modules"))
        for module in self._imports:
            importlib.import_module(module)
        self._signals = SignalReceiver(StopOnSignal(self), is_on=flag(handle_signals, "handle_signals"))
        self._orders = Orders()
        self._life: Life | None = None
        self.is_serving = False
        """It takes jobs, or hands them back: between the hooks."""
        self.each_turn: list[Callable[[], None]] = []
        """Called by the loop that takes jobs, between jobs and at least once a second."""
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        return f"<Worker {self.worker_id} of {listed(list(dict.fromkeys([*self._shares.patterns, *self.queues])))}>"

    @staticmethod
    async def list_workers(nats_url: str | None = None, *, settings: Settings | None = None) -> list[dict[str, Any]]:
        """Return the presence of every living worker: id, host, pid, queues, concurrency, running jobs, counters."""
        async with Connection(settings or Settings.load(nats_url=nats_url), name="naq-list-workers") as connection:
            return await list_workers(connection)

    @property
    def stuck_jobs(self) -> int:
        """After `run()`: jobs that were handed back, but whose functions ignore their cancellation and still run."""
        return 0 if self._life is None else self._life.stuck_jobs

    def presence(self) -> dict[str, Any]:
        """Return what other processes may know of this worker, from `run()` on; callable from any thread."""
        return {} if self._life is None else self._life.presence()

    def stop(self) -> None:
        """Take no more jobs, let the running ones finish within the grace, hand the rest back. Callable from any thread."""
        self._order(self._orders.stop.set)

    def stop_now(self) -> None:
        """Stop, and interrupt the running jobs at once; they are handed back. Callable from any thread."""
        self._order(self._orders.stop.set)
        self._order(self._orders.hurry.set)

    def quiet(self) -> None:
        """Take no more jobs and finish the running ones, until `resume()` or `stop()`. Callable from any thread."""
        self._order(lambda: self._set_quiet(True))

    def resume(self) -> None:
        """Take jobs again after `quiet()`. Callable from any thread."""
        self._order(lambda: self._set_quiet(False))

    def resize(self, concurrency: int) -> None:
        """Run that many jobs at a time from now on. Running ones finish, also if they are more. Callable from any thread.

        The setting `processes`, for jobs in child processes, stays as it is.

        Raises:
            InvalidOptionError: It is not between 1 and 100,000.
        """
        wanted = whole(concurrency, "concurrency", 1, MOST_SLOTS)
        self._order(lambda: self._set_slots(wanted))

    def _set_slots(self, slots: int) -> None:
        if slots == self.concurrency:
            return
        log.info("worker %s now runs up to %d jobs at a time instead of %d", self.worker_id, slots, self.concurrency)
        self.concurrency = slots
        if self._life is not None:
            self._life.resize(slots)

    def _set_quiet(self, quiet: bool) -> None:
        self._orders.quiet = quiet

    @property
    def state(self) -> str:
        """What presence says of it: running, quiet or stopping."""
        if self._orders.stop.is_set():
            return "stopping"
        return "quiet" if self._orders.quiet else "running"

    @property
    def is_ready(self) -> bool:
        """Whether it is connected, its consumers are bound, and it takes jobs."""
        return self._life is not None and self.is_serving and self.state == "running" and self._life.takes_jobs

    @property
    def has_begun(self) -> bool:
        """Whether it has taken jobs since its start."""
        return self._life is not None and self._life.has_begun

    def keep_figures(self) -> None:
        """Add up for `figures` what is counted; to be called before `run()`."""
        self._orders.keeps_figures = True

    def figures(self) -> WorkerFigures:
        """Return what it has counted; to be called from its event loop."""
        return WorkerFigures() if self._life is None else self._life.figures()

    @property
    def in_hand(self) -> int:
        """How many jobs run, or have just ended and are being recorded."""
        return 0 if self._life is None else self._life.in_hand

    def _take_turn(self) -> None:
        self._signals.check()
        for call in self.each_turn:
            call()

    def _order(self, change: Callable[[], None]) -> None:
        def follow() -> None:
            change()
            if self._life is not None and self.is_serving:
                self._life.follow_orders()

        if not self.started_at or threading.get_ident() == self._thread:
            follow()
        else:
            self._loop.call_soon_threadsafe(follow)

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
        if not self._orders.stop.is_set():
            await finish(self._live(), self._on_cancel, name="naq-worker")
        log.info("worker %s has stopped; jobs done: %d", self.worker_id, self.counters.processed)

    def _on_cancel(self, task: "asyncio.Task[None]") -> None:
        """Return the jobs at once: the program is ending, or `run()` was cancelled."""
        if self._life is None or not self.is_serving:
            task.cancel()
            return
        if not self._orders.hurry.is_set():
            log.warning("worker %s was cancelled; returning the running jobs to their queues", self.worker_id)
        self.stop_now()
        self._life.interrupt()

    async def _live(self) -> None:
        hooks = Hooks(self.settings.hooks, self.settings.source("hooks"))
        async with Connection(self.settings, name=f"naq-worker-{self.worker_id}", keeps=True, is_hidden=True) as connection:
            self.started_at = connection.clock.now()
            life = self._life = Life(
                connection,
                self,
                self._shares,
                self._orders,
                imports=self._imports,
                hooks=hooks,
                each_turn=self._take_turn,
            )
            try:
                with self._signals:  # before the hooks, which are to end as they have begun
                    await life.prepare()
                    self.is_serving = True
                    await life.serve()
            finally:
                self.is_serving = False
                failure = await hooks.stop()
            if failure is not None:
                raise failure


def _host() -> str:
    """Return the host's name as it can be part of a subject."""
    return socket.gethostname().split(".")[0].replace("_", "-")
