"""Worker processes that tests start, freeze and kill."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from naq_core import Settings
from tests.support.clocks import WrongClock
from tests.support.eventually import PATIENCE
from tests.support.history import HISTORY_VARIABLE, History, boottime

ROOT = Path(__file__).resolve().parents[2]


def _death_signal() -> Callable[[], None] | None:
    """Prepare the system call that ends a child with the tests, so that an aborted run leaves none."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def die_with_parent() -> None:
        prctl(1, signal.SIGKILL)

    return die_with_parent


_DIE_WITH_THE_TESTS = _death_signal()


def environment(settings: Settings, history: History | None = None) -> dict[str, str]:
    """Return the environment in which a child process sees these settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NAQ_", "NATS_"))}
    inherited |= settings.as_environment()
    ours = [entry for entry in sys.path if entry.startswith(str(ROOT)) and ".venv" not in entry]
    inherited["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), *ours]))
    inherited["PYTHONFAULTHANDLER"] = ""
    if history is not None:
        inherited[HISTORY_VARIABLE] = str(history.path)
    return inherited


@dataclass
class WorkerProcess:
    """One `python -m naq_worker` process, with its output in a file."""

    process: subprocess.Popen[bytes]
    log: Path
    started_at: float = field(default_factory=boottime)
    frozen_since: float | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def output(self) -> str:
        """Return what the process has printed."""
        return self.log.read_text(errors="replace")

    def terminate_group(self) -> None:
        """Ask it and all its children to stop, as systemd does: SIGTERM to the process group."""
        os.killpg(self.pid, signal.SIGTERM)

    def terminate(self) -> None:
        """Ask it to stop: SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self, history: History | None = None) -> None:
        """End it without warning: SIGKILL. The history notes it as a fault of this process."""
        since = boottime()
        self.process.kill()
        self.process.wait()
        if history is not None:
            history.record("fault", name="kill", worker=self.pid, t0=since, t1=boottime())

    def freeze(self) -> None:
        """Stop it in its tracks: SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)
        self.frozen_since = boottime()

    def thaw(self, history: History | None = None) -> None:
        """Let it go on: SIGCONT. The history notes the time in between as a fault."""
        assert self.frozen_since is not None
        self.process.send_signal(signal.SIGCONT)
        if history is not None:
            window = {"t0": self.frozen_since, "t1": boottime()}
            history.record("fault", name="freeze", worker=self.pid, **window)
        self.frozen_since = None

    async def ended(self, timeout: float) -> int:
        """Wait for its end and return the exit code.

        Args:
            timeout: Seconds within which it ends on a quiet machine; it may take `PATIENCE` times as long.

        Raises:
            AssertionError: It did not end in time; the message holds its output.
        """
        limit = PATIENCE * timeout
        deadline = time.monotonic() + limit
        while (code := self.process.poll()) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"still running after {limit} s:\n{self.output()[-4000:]}")
            await asyncio.sleep(0.01)
        return code


class Fleet:
    """Starts worker processes and ends those that are left.

    Args:
        settings: What the workers are to use; given to them by environment variables.
        history: Where their jobs write what they do.
        directory: For the log files.
    """

    def __init__(self, settings: Settings, history: History, directory: Path) -> None:
        self.settings = settings
        self.history = history
        self.directory = directory
        self.workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.alive():
            worker.process.kill()
            worker.process.wait()

    def alive(self) -> list[WorkerProcess]:
        """Return the workers that have not ended."""
        return [worker for worker in self.workers if worker.is_alive]

    def start(self, *queues: str, settings: Settings | None = None, clock: WrongClock | None = None) -> WorkerProcess:
        """Start one more worker on the queues (`default` if none is named), perhaps with a wrong clock."""
        return self._spawn("naq_worker", *(queues or ("default",)), settings=settings, clock=clock)

    def run_program(self, program: str, *arguments: str) -> WorkerProcess:
        """Run the text of a Python program that becomes a worker."""
        return self._run("program", ["-c", program, *arguments], environment(self.settings, self.history))

    def start_scheduler(self, *arguments: str, clock: WrongClock | None = None) -> WorkerProcess:
        """Start one more scheduler, perhaps with a wrong clock."""
        return self._spawn("naq_scheduler", *arguments, clock=clock)

    def start_dashboard(self, *arguments: str) -> WorkerProcess:
        """Start a dashboard on any free port; it says in its output which."""
        return self._spawn("naq_dashboard", "--port", "0", *arguments)

    def _spawn(
        self, module: str, *arguments: str, settings: Settings | None = None, clock: WrongClock | None = None
    ) -> WorkerProcess:
        variables = environment(settings or self.settings, self.history)
        return self._run(module, ["-m", module, *arguments], variables if clock is None else clock.environment(variables))

    def _run(self, name: str, arguments: list[str], variables: dict[str, str]) -> WorkerProcess:
        log = self.directory / f"{name}-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env=variables,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_DIE_WITH_THE_TESTS,  # noqa: PLW1509 - one system call
            )
        worker = WorkerProcess(process, log)
        self.workers.append(worker)
        return worker

    def by_pid(self, pid: int) -> WorkerProcess:
        """Return the worker with that process id."""
        return next(worker for worker in self.workers if worker.pid == pid)

    def outputs(self) -> str:
        """Return the ends of all logs, for a failure message."""
        return "\n".join(f"--- {w.log.name} pid {w.pid}\n{w.output()[-3000:]}" for w in self.workers)
