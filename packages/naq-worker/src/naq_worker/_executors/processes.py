"""A pool of child processes for `process=True` jobs: killed on time-out, replaced after a crash."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence

from naq_core.serialization import JSON, registered_names, rules_for_child
from naq_worker._executors.frames import (
    LENGTH_BYTES,
    Ended,
    FromChild,
    Line,
    Report,
    Run,
    Setup,
    decode_from_child,
    frame,
    outcome_of,
)
from naq_worker._report import Reporter
from naq_worker.outcome import Crashed, Outcome

NEW_CHILDREN = 3
DYING = 0.2
"""Seconds a child whose socket is closed may take to end by itself, so that its exit code is its own."""


class _Child:
    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer


class Processes:
    """Runs jobs in child processes, at most `size` at a time; they start when first needed."""

    def __init__(self, size: int, serializer: str, allowed: Sequence[str], *, logs: bool = True) -> None:
        self._slots = asyncio.Semaphore(size or os.cpu_count() or 1)
        self._logs = logs
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._serializer = serializer
        self._allowed = [*allowed, *registered_names()] if serializer == JSON else list(allowed)
        """In JSON mode what this process has registered too: the child has not imported those modules."""

    async def run(self, run: Run, timeout: float | None, reporter: Reporter) -> Outcome:
        """Run one job and return what it came to.

        Raises:
            TimeoutError: It took longer than `timeout` seconds and was killed.
        """
        async with self._slots:
            child = await self._hand_over(run)
            try:
                async with asyncio.timeout(timeout):
                    outcome = await self._listen(child, reporter)
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

    async def _hand_over(self, run: Run) -> _Child:
        """Give the job to a child that says it has it; one that died while idle is no crash of the job.

        Raises:
            ChildProcessError: New children die before they take a job: nothing runs here.
        """
        for _ in range(len(self._idle) + NEW_CHILDREN):
            child = await self._take()
            try:
                child.writer.write(frame(run))
                await child.writer.drain()
                await _read(child)
            except (asyncio.IncompleteReadError, ConnectionError):
                await self._kill(child)
            except BaseException:
                child.process.kill()
                await self._kill(child)
                raise
            else:
                return child
        raise ChildProcessError(f"{NEW_CHILDREN} child processes died before they took the job")

    async def _listen(self, child: _Child, reporter: Reporter) -> Outcome:
        while True:
            message = await _read(child)
            if isinstance(message, Report):
                reporter.progress(message.done, message.total, message.note)
            elif isinstance(message, Line):
                reporter.log(message.line)
            elif isinstance(message, Ended):
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
        allowed, level = rules_for_child(self._allowed), logging.getLogger().getEffectiveLevel()
        writer.write(frame(Setup(sys.path, self._serializer, allowed, level, self._logs)))
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


async def _read(child: _Child) -> FromChild:
    length = int.from_bytes(await child.reader.readexactly(LENGTH_BYTES), "big")
    message: FromChild = decode_from_child(await child.reader.readexactly(length))
    return message
