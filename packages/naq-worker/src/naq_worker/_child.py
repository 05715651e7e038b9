"""One of the worker processes of a supervisor, as the supervisor sees it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

from naq_core.log_lines import LineOutput
from naq_worker._link import FIGURES, READY, STOP
from naq_worker._own_metrics import WorkerFigures, decode_figures

CHUNK = 64 * 1024
LONGEST_LINE = 1024 * 1024
"""Bytes of a line that are kept until it ends; a longer one is printed as several."""
ANSWER = 2.0
"""Seconds that a process may take to tell its figures."""
LAST_WORDS = 1.0
"""Seconds after the end of a process in which its output is still read: a program that it has started may keep it open."""


class WorkerChild:
    """One process at a time, under one number; may be run again after it has ended.

    Args:
        number: From 1 on.
        arguments: The options of the worker process.
        prefix: Printed before each of its lines.
        outputs: Where its standard output and error are printed.
        on_change: Called when it becomes ready, or is no longer.
    """

    def __init__(
        self,
        number: int,
        arguments: Sequence[str],
        prefix: str,
        outputs: Sequence[LineOutput],
        on_change: Callable[[], None],
    ) -> None:
        self.number = number
        self.is_ready = False
        """It takes jobs."""
        self.was_ready = False
        """This process has taken jobs; until then it knows no word of a supervisor."""
        self.is_replaced = False
        """It was told to end so that another one takes its place."""
        self._arguments = arguments
        self._prefix = prefix
        self._outputs = outputs
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._link: socket.socket | None = None
        self._word = b""
        self._said = b""
        self._heard_at = 0.0
        self._asked: list[asyncio.Future[WorkerFigures]] = []

    @property
    def silent_for(self) -> float:
        """Seconds since the process, which has taken jobs, gave a sign of life; 0 before it has taken any."""
        if not self.was_ready or self._process is None or self._process.returncode is not None:
            return 0.0
        return time.monotonic() - self._heard_at

    async def figures(self) -> WorkerFigures | None:
        """Return what the process has counted; None where it does not answer."""
        if self._link is None or not self.was_ready:
            return None
        answer: asyncio.Future[WorkerFigures] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        try:
            async with asyncio.timeout(ANSWER):
                self._link.send(FIGURES, socket.MSG_DONTWAIT)
                return await answer
        except (OSError, TimeoutError):
            return None
        finally:
            with contextlib.suppress(ValueError):
                self._asked.remove(answer)

    @property
    def pid(self) -> int:
        """The process id; 0 where none has started."""
        return 0 if self._process is None else self._process.pid

    async def run(self) -> int:
        """Run one process to its end, and print what it prints.

        Returns:
            Its exit code, negative for a signal.

        Raises:
            OSError: The system does not let it start.
        """
        self.is_ready = self.was_ready = self.is_replaced = False
        self._said = b""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as ends, contextlib.ExitStack() as theirs:
            self._link, link = socket.socketpair()
            ends.enter_context(self._link)
            theirs.enter_context(link)
            pipes = [_Pipe(self._prefix, output) for output in self._outputs]
            for pipe in pipes:
                ends.callback(pipe.close)
                theirs.callback(os.close, pipe.writing)
            self._process = await self._start(link.fileno(), *(pipe.writing for pipe in pipes))
            theirs.close()
            loop.add_reader(self._link, self._listen, self._link)
            ends.callback(loop.remove_reader, self._link)
            if self._word:
                self.say(self._word)
            code = await self._process.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    for pipe in pipes:
                        await pipe.ended.wait()
        self._note(is_ready=False)
        return code

    async def _start(self, link: int, stdout: int, stderr: int) -> asyncio.subprocess.Process:
        """Start it in this process's group, so that a terminal's signals reach it as they reach a single worker."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "naq_worker",
            f"--link={link}",
            f"--number={self.number}",
            *self._arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(link,),
        )

    def say(self, word: bytes) -> None:
        """Tell the process how hard to stop. One that has taken no jobs yet may not listen, and has nothing to lose."""
        self._word = word
        self._tell(word)

    def replace(self) -> None:
        """Let the process finish its running jobs and end; the next `run` starts another one."""
        self.is_replaced = True
        self._tell(STOP)

    def _tell(self, word: bytes) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.send(word)
        if not self.was_ready:
            self._signal(signal.SIGTERM)

    def kill(self) -> bool:
        """End the process by force, if it runs; return whether it did."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._signal(signal.SIGKILL)
        return True

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.send_signal(number)

    def _listen(self, link: socket.socket) -> None:
        try:
            said = link.recv(CHUNK)
        except OSError:
            said = b""
        if not said:
            asyncio.get_running_loop().remove_reader(link)
            return
        self._heard_at = time.monotonic()
        self._said += said
        while self._said:
            if not self._take_word():
                return

    def _take_word(self) -> bool:
        """Take note of the next word of the process, and return whether it was complete."""
        if self._said[:1] != FIGURES:
            self._note(is_ready=self._said[:1] == READY)
            self._said = self._said[1:]
            return True
        end = 5 + int.from_bytes(self._said[1:5], "big")
        if len(self._said) < max(5, end):
            return False
        body, self._said = self._said[5:end], self._said[end:]
        asked, self._asked = self._asked, []
        for each in asked:
            if not each.done():
                each.set_result(decode_figures(body) if body else WorkerFigures())
        return True

    def _note(self, *, is_ready: bool) -> None:
        is_changed = is_ready != self.is_ready
        self.is_ready = is_ready
        self.was_ready = self.was_ready or is_ready
        if is_changed:
            self._on_change()


class _Pipe:
    """Prints the lines that a process writes to a pipe."""

    def __init__(self, prefix: str, output: LineOutput) -> None:
        self._encoding = getattr(output.stream, "encoding", None) or "utf-8"  # the process has the same environment
        self._reading, self.writing = os.pipe()
        self.ended = asyncio.Event()
        self._prefix = prefix
        self._output = output
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reading, self._read)

    def _read(self) -> None:
        chunk = os.read(self._reading, CHUNK)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if self._rest and (not chunk or len(self._rest) > LONGEST_LINE):
            lines.append(self._rest)
            self._rest = b""
        if lines:
            texts = [line.decode(self._encoding, "backslashreplace") for line in lines]
            self._output.write("".join(f"{self._prefix}{text}\n" for text in texts))
        if not chunk:
            self._loop.remove_reader(self._reading)
            self.ended.set()

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._reading)
        os.close(self._reading)
