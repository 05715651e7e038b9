"""Runs several worker processes as one service: starts them, keeps them running, and stops them together."""

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TypeAlias

from naq_core.errors import ConfigurationError
from naq_core.health import Answer, Routes
from naq_core.log_lines import LineOutput
from naq_core.logs import logging_set_up
from naq_core.notify import ServiceState, notifying
from naq_core.platforms import IS_WINDOWS
from naq_core.reloading import can_watch_files, changed_files
from naq_core.settings import Settings
from naq_core.signals import SignalReceiver
from naq_core.tasks import beside
from naq_worker._child import WorkerChild
from naq_worker._health import alive_if_silent_for, health_address
from naq_worker._lifespan import RECYCLED
from naq_worker._link import MARGIN, STOP, STOP_NOW
from naq_worker._options import Options
from naq_worker._own_metrics import as_text
from naq_worker._signals import StopOnSignal

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
"""Seconds before a worker that has died is started again; twice as long after each further death."""
LONGEST_PAUSE = 30.0
"""Seconds that the pause grows to; a worker that has lived longer begins with the first pause again."""
KILL_MARGIN = MARGIN + 5.0
"""Seconds after the grace in which a worker that is to stop ends by itself."""
FAILED = 1
"""The exit code where a worker did not stop as it should."""
CANNOT_START = frozenset({2, 3, 4})
"""Exit codes of a worker that would fail again: a wrong setting, no usable server, a module that cannot be imported."""

Code: TypeAlias = int


def supervise(options: Options, settings: Settings) -> Code:
    """Run `settings.workers` worker processes until all have ended.

    Returns:
        The exit code: 0 all stopped cleanly, 1 one did not, or that of the first that cannot start.

    Raises:
        ConfigurationError: The platform cannot run several, or the health address is taken.
    """
    if IS_WINDOWS:
        raise ConfigurationError("workers", "must be 1 on Windows: start several worker processes yourself", "argument")
    if options.reload and not can_watch_files():
        raise ConfigurationError("reload", "needs watchfiles: pip install 'naq-worker[reload]'", "argument")
    with logging_set_up(settings):
        pass
    with asyncio.Runner() as runner:
        return runner.run(Supervisor(options, settings).run())


class Supervisor:
    """Several worker processes."""

    def __init__(self, options: Options, settings: Settings) -> None:
        self._options = options
        self._grace = settings.shutdown_grace.total_seconds()
        outputs = [LineOutput(stream) for stream in (sys.stdout, sys.stderr)]
        width = len(str(settings.workers))
        is_for_people = settings.log_format == "console" and settings.workers > 1
        self._children = [
            WorkerChild(number, options.arguments(), f"{number:>{width}} | " if is_for_people else "", outputs, self._on_change)
            for number in range(1, settings.workers + 1)
        ]
        self._signals = SignalReceiver(StopOnSignal(self), is_on=True)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        """Files have changed; then another event takes its place."""
        self._has_worked = False
        """One of them has taken jobs: settings and server are right."""
        self._code = 0

    async def run(self) -> Code:
        """Run them; return the exit code when all have ended."""
        with self._signals:
            async with health_address(self._options, self._routes()), asyncio.TaskGroup() as group:
                log.info("starting %d worker processes", len(self._children))
                helpers = [group.create_task(self._kill_late(), name="naq-killer")]
                if self._options.reload:
                    helpers.append(group.create_task(self._watch_files(), name="naq-reload"))
                with notifying(self._state):
                    await asyncio.wait([group.create_task(self._keep(each), name="naq-worker") for each in self._children])
                for each in helpers:
                    each.cancel()
        log.info("all worker processes have ended")
        return self._code

    def stop(self) -> None:
        """Start none again, and let the workers finish their running jobs within the grace."""
        self._stop(STOP)

    def stop_now(self) -> None:
        """As `stop`; the workers return their running jobs at once."""
        self._hurry.set()
        self._stop(STOP_NOW)

    def _stop(self, word: bytes) -> None:
        self._stopping.set()
        for each in self._children:
            each.say(word)

    async def _keep(self, child: WorkerChild) -> None:
        """Run one worker again and again, until it has ended by order."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            begun = loop.time()
            try:
                code = await child.run()
            except OSError as error:
                what = f"cannot be started: {error}"
            else:
                if self._is_over(child, code):
                    return
                if code == RECYCLED or child.is_replaced:
                    log.info("worker %d (process %d) is replaced", child.number, child.pid)
                    continue
                if self._options.reload and code in CANNOT_START:
                    log.error("worker %d cannot start; waiting for a file to change", child.number)
                    await self._wait_for_change()
                    continue
                what = f"(process {child.pid}) {_ended(code)}"
            if loop.time() - begun > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            log.error("worker %d %s; restarting it in %g s", child.number, what, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(2 * pause, LONGEST_PAUSE)

    def _is_over(self, child: WorkerChild, code: Code) -> bool:
        """Take note of how a worker has ended; return whether it is not to be started again."""
        if self._stopping.is_set():
            if child.was_ready and code not in {0, RECYCLED}:
                log.error("worker %d (process %d) %s while it was stopping", child.number, child.pid, _ended(code))
                self._code = self._code or FAILED
            return True
        if child.is_replaced:
            return False
        if code == 0:
            if not self._options.burst:
                log.warning("worker %d (process %d) was stopped; it will not be restarted", child.number, child.pid)
            return True
        if code in CANNOT_START and not self._has_worked and not self._options.reload:
            log.critical("worker %d cannot start; stopping the others", child.number)
            self._code = code
            self.stop()
            return True
        return False

    async def _watch_files(self) -> None:
        async for names in changed_files():
            log.info("%s changed: restarting", names)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            for each in self._children:
                each.replace()

    async def _wait_for_change(self) -> None:
        async with beside(self._stopping.wait()) as stopping, beside(self._changed.wait()) as changed:
            await asyncio.wait([stopping, changed], return_when=asyncio.FIRST_COMPLETED)

    async def _kill_late(self) -> None:
        await self._stopping.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                await self._hurry.wait()
        await asyncio.sleep(KILL_MARGIN)
        for each in self._children:
            if each.kill():
                log.error("worker %d (process %d) did not end in time and was killed", each.number, each.pid)
                self._code = self._code or FAILED  # also if it had not started yet

    def _on_change(self) -> None:
        self._has_worked = self._has_worked or any(each.is_ready for each in self._children)

    def _routes(self) -> Routes:
        return {"/livez": self._alive, "/readyz": self._readiness, "/startupz": self._started, "/metrics": self._metrics}

    def _alive(self) -> Answer:
        slowest = max(self._children, key=lambda each: each.silent_for)
        what = f"the event loop of worker {slowest.number} (process {slowest.pid}) has been blocked"
        return alive_if_silent_for(slowest.silent_for, what)

    def _readiness(self) -> Answer:
        ready = sum(each.is_ready for each in self._children)
        return 200 if ready else 503, f"{ready} of {len(self._children)} workers take jobs\n"

    def _started(self) -> Answer:
        return (200, "started\n") if self._has_worked else (503, "no worker has started yet\n")

    async def _metrics(self) -> Answer:
        found = await asyncio.gather(*(each.figures() for each in self._children))
        numbered = zip(self._children, found, strict=True)
        return 200, as_text([({"process": str(child.number)}, each) for child, each in numbered if each is not None])

    def _state(self) -> ServiceState:
        return ServiceState(
            is_ready=self._has_worked,
            is_stopping=self._stopping.is_set(),
            status=self._readiness()[1],
            is_alive=self._alive()[0] == 200,
        )


def _ended(code: Code) -> str:
    if code >= 0:
        return f"ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"
