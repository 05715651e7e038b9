"""Child processes whose output is printed line by line behind a coloured prefix, and which end with this one."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence

from naq_core.log_formats import FORMATTERS
from naq_core.server import tie_to_this_process
from naq_core.standard_streams import OutputError
from naq_core.tasks import Background

_RESET = "\033[0m"
COLORS = {
    "server": "\033[35m",
    "worker": "\033[36m",
    "scheduler": "\033[33m",
    "dashboard": "\033[34m",
    "jobs": "\033[32m",
    "naq": "\033[1m",
}
_WIDTH = max(map(len, COLORS))
_LINE_LIMIT = 1024 * 1024
_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT(?P<time>[\d:]{8})\.\d{3}Z (?P<level>[A-Z]+) [\w.]+: (?P<message>.*)")


class Log:
    """Prints lines of several sources, each behind its name."""

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self.format = "console"
        """The setting `log_format`: in the others a line has no prefix, and those of children are left as they are."""

    def line(self, name: str, text: str) -> None:
        """Print a line of this process's own."""
        fields = {"name": "naq.dev" if name == "naq" else f"naq.{name}", "levelname": "INFO", "msg": text}
        self.record(logging.makeLogRecord(fields), name)

    def record(self, record: logging.LogRecord, name: str = "naq") -> None:
        """Print a log record of this process."""
        if self.format == "console":
            self._print(name, record.getMessage())
        else:
            self._write(FORMATTERS[self.format]().format(record))

    def output(self, name: str, text: str) -> None:
        """Print a line that a child has printed, in the console format with a short time and without the logger."""
        if self.format == "console":
            self._print(name, _shortened(name, text))
        else:
            self._write(text)

    def _print(self, name: str, text: str) -> None:
        prefix = f"{name:<{_WIDTH}} |"
        if self._color:
            prefix = f"{COLORS.get(name, '')}{prefix}{_RESET}"
        self._write(f"{prefix} {text}")

    @staticmethod
    def _write(line: str) -> None:
        """Print a line; where standard output cannot be written, stop this process as its supervisor would."""
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except OutputError:
            signal.raise_signal(signal.SIGTERM)


class LogHandler(logging.Handler):
    """Prints what is logged in this process as lines of its own."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        self._log.record(record)


def _shortened(name: str, text: str) -> str:
    """Leave out of a log line what is always the same here: the date, the level INFO, the logger, and the worker's id."""
    found = _LOG_LINE.fullmatch(text)
    if found is None:
        return text
    level = "" if found["level"] == "INFO" else f"{found['level']} "
    message = re.sub(rf"^{name} [\w.-]+-[0-9a-f]{{8}} ", "", found["message"])
    return f"{found['time']} {level}{message}"


class DevProcess:
    """One process; may be started again after it has ended."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Log) -> None:
        self.name = name
        self.has_spoken = asyncio.Event()
        """Set with its first line of output."""
        self.arguments = arguments
        """Of the next start."""
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._background = Background()
        self._pump: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process in a session of its own, so that the terminal's Ctrl-C reaches only its parent."""
        self._process = await asyncio.create_subprocess_exec(
            *tie_to_this_process(),
            sys.executable,
            *self.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            limit=_LINE_LIMIT,
        )
        self._pump = self._background.start(self._print_output(self._process), f"output of {self.name}")

    async def wait(self) -> int:
        """Return the exit code when the process has ended and all it said is printed."""
        assert self._process is not None  # noqa: S101 - started before
        code = await self._process.wait()
        if self._pump is not None:
            # A grandchild may hold the pipe open.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._pump), 1)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, SIGKILL to the children of the process too."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    async def stop(self, patience: float) -> None:
        """End the process: SIGTERM, and SIGKILL where it has not ended in time."""
        if not self.is_running:
            return
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.wait(), patience)
        except TimeoutError:
            self._log.line("naq", f"{self.name} has not stopped within {patience:g} s; killing it")
            self.signal(signal.SIGKILL)
            await self.wait()

    async def _print_output(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the limit; what is left of it comes next
                continue
            if not line:
                return
            self.has_spoken.set()
            self._log.output(self.name, line.decode(errors="replace").rstrip())
