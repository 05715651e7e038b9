"""A pool of child processes for `process=True` jobs: killed on time-out, replaced after a crash."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from naq_worker._executors.frames import LENGTH_BYTES, Report, Run, Setup, decode_from_child, frame, outcome_of
from naq_worker.outcome import Crashed, Outcome

DYING = 0.2
"""Seconds a child whose socket is closed may take to end by itself, so that its exit code is its own."""


class _Child:
    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer


class Processes:
    """Runs jobs in child processes, at most `size` at a time; they start when first needed."""

    def __init__(self, size: int, serializer: str, allowed: Sequence[str]) -> None:
        self._slots = asyncio.Semaphore(size or os.cpu_count() or 1)
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._serializer = serializer
        self._allowed = list(allowed)

    async def run(self, run: Run, timeout: float | None, report: Callable[[float, float | None, str], None]) -> Outcome:
        """Run one job and return what it came to.

        Raises:
            TimeoutError: It took longer than `timeout` seconds and was killed.
        """
        async with self._slots:
            child = await self._take()
            try:
                async with asyncio.timeout(timeout):
                    outcome = await self._talk(child, run, report)
            except (asyncio.IncompleteReadError, ConnectionError):
                return Crashed(await self._kill(child))
            except BaseException:
                child.process.kill()
                await self._kill(child)
                raise
            self._idle.append(child)
            return outcome

    async def close(self) -> None:
        """Kill all children."""
        for child in tuple(self._children):
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
            await self._kill(child)

    async def _take(self) -> _Child:
        """Return a living child: one that died while idle must not count against the next job."""
        while self._idle:
            child = self._idle.pop()
            if child.process.returncode is None and not child.reader.at_eof():
                return child
            await self._kill(child)
        return await self._start()

    async def _talk(self, child: _Child, run: Run, report: Callable[[float, float | None, str], None]) -> Outcome:
        child.writer.write(frame(run))
        await child.writer.drain()
        while True:
            length = int.from_bytes(await child.reader.readexactly(LENGTH_BYTES), "big")
            message = decode_from_child(await child.reader.readexactly(length))
            if isinstance(message, Report):
                report(message.done, message.total, message.note)
            else:
                return outcome_of(message)

    async def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "naq_worker._executors.child",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        child = _Child(process, reader, writer)
        self._children.add(child)
        writer.write(frame(Setup(sys.path, self._serializer, self._allowed)))
        return child

    async def _kill(self, child: _Child) -> str:
        """End a child and say how it ended; one that has closed its socket may still be running."""
        child.writer.close()
        try:
            async with asyncio.timeout(DYING):
                await child.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.process.kill()
        if child in self._idle:
            self._idle.remove(child)
        self._children.discard(child)
        code = await child.process.wait()
        if code >= 0:
            return f"the child process exited with code {code} under the job"
        with contextlib.suppress(ValueError):
            return f"the child process was ended by {signal.Signals(-code).name} under the job"
        return f"the child process was ended by signal {-code} under the job"
