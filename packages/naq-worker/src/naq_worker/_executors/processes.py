"""A pool of child processes for `process=True` jobs: killed on time-out with all they have started, replaced after a crash."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from typing import Any

import msgspec

from naq_core.errors import EncodeError
from naq_core.functions import registered_names, rules_for_child
from naq_core.layers import name_of
from naq_core.platforms import IS_WINDOWS
from naq_core.resources import overrides
from naq_core.serialization import JSON, encode_pickle
from naq_core.tasks import Background
from naq_worker._executors import relay
from naq_worker._executors.frames import (
    LENGTH_BYTES,
    Answer,
    Broken,
    Ended,
    FromChild,
    Line,
    Logged,
    Report,
    Run,
    Setup,
    decode_from_child,
    ended,
    frame,
    outcome_of,
)
from naq_worker._executors.stack_pipe import StackPipe
from naq_worker._report import Reporter
from naq_worker._shortage import ShortageError, starting
from naq_worker.outcome import Crashed, Outcome, Short

log = logging.getLogger(__name__)

NEW_CHILDREN = 3
DYING = 2.0
"""Seconds a child whose socket or guard's input is closed may take to end by itself, so that its exit code is its own."""

LEAVING = 10.0
"""Seconds for what an idle child does at its exit, when the worker stops."""


class _Child:
    """One child process, behind its guard.

    Args:
        process: The guard: it ends as the child does, and kills it when its standard input is closed.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stacks: StackPipe,
    ) -> None:
        self.process = process
        self.stacks = stacks
        self.writer = writer
        self.is_gone = False
        self.reporter: Reporter | None = None
        self.context = Context()
        """What its log records are handled in: that of its job."""
        self._reader = reader
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue()

    async def listen(self) -> None:
        """Take what the child says, also while it has no job, until it closes its socket."""
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
                self._take(decode_from_child(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except msgspec.DecodeError as error:
            log.warning("a child process corrupted its channel to the worker: %s", error)
        except MemoryError:
            self._answers.put_nowait(ended(Short("the worker does not have enough memory for the result", may_be_the_jobs=True)))
        finally:
            self.is_gone = True
            self._answers.put_nowait(None)

    def _take(self, message: FromChild) -> None:
        match message:
            case Report(done=done, total=total, note=note):
                if self.reporter is not None:
                    self.reporter.progress(done, total, note)
            case Line(line=line):
                if self.reporter is not None:
                    self.reporter.log(line)
            case Logged(begin_at=begin_at, fields=fields):
                self.context.run(relay.handle, begin_at, fields)
            case _:
                self._answers.put_nowait(message)

    async def answer(self) -> Answer:
        """Return its next answer.

        Raises:
            ConnectionError: It is gone.
        """
        answer = await self._answers.get()
        if answer is None:
            raise ConnectionError("the child process is gone")
        return answer

    def kill(self) -> None:
        """Have its guard kill it, with all that it has started."""
        if self.process.stdin is not None:
            self.process.stdin.close()


def _pickled(value: Any, what: str, advice: str) -> bytes:
    try:
        return encode_pickle(value, what)
    except EncodeError as error:
        raise ChildProcessError(f"no child process can start: {error}; {advice}") from error


async def _spawn() -> _Child:
    """Start a child process; where that fails half-way, nothing of it stays."""
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as undo:
        undo.callback(ours.close)
        stacks = StackPipe()
        undo.callback(stacks.close)
        with theirs, stacks.writing() as writing:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "naq_worker._executors.child",
                str(theirs.fileno()),
                str(writing),
                pass_fds=(theirs.fileno(), writing),
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        if process.stdin is not None:
            undo.callback(process.stdin.close)  # its guard ends it then
        reader, writer = await asyncio.open_connection(sock=ours)
        undo.pop_all()
    return _Child(process, reader, writer, stacks)


class Processes:
    """Runs jobs in child processes, at most `size` at a time; they start when first needed.

    Args:
        serializer: What the children accept.
        allowed: What they may run.
        logs: Lines that jobs log are kept with them.
        imports: Modules that they import first.
        hooks: Of the settings, which they call then.
        middleware: Of the settings.
    """

    def __init__(
        self,
        size: int,
        serializer: str,
        allowed: Sequence[str],
        *,
        logs: bool = True,
        imports: Iterable[str] = (),
        hooks: Sequence[Any] = (),
        middleware: Sequence[Any] = (),
    ) -> None:
        self._slots = asyncio.Semaphore(size)
        """A child that is being killed counts, although its place is free again."""
        self._logs = logs
        self._idle: list[_Child] = []
        self._children: set[_Child] = set()
        self._listening = Background(is_hidden=True)
        self._serializer = serializer
        self._allowed = [*allowed, *registered_names()] if serializer == JSON else list(allowed)
        """In JSON mode what this process has registered too: the child has not imported those modules."""
        self._imports = list(imports)
        self._hooks = hooks
        self._pickled_hooks: list[bytes] | None = None
        self._middleware = middleware

    async def run(self, run: Run, timeout: float | None, reporter: Reporter) -> Outcome:
        """Run one job and return its outcome.

        Raises:
            TimeoutError: It took longer than `timeout` seconds and was killed.
            ChildProcessError: Child processes cannot start as a module or a hook fails in them; says why.
            ShortageError: They cannot start for another reason.
        """
        async with self._slots:
            child = await self._hand_over(run, reporter)
            try:
                async with asyncio.timeout(timeout):
                    answer = await child.answer()
                assert isinstance(answer, Ended)  # noqa: S101 - the only one after `Started`
            except ConnectionError:
                return Crashed(await self._end(child))
            except BaseException:
                child.kill()
                await self._end(child)
                raise
            child.reporter, child.context = None, Context()
            self._idle.append(child)
            return outcome_of(answer)

    def stacks(self) -> Iterator[tuple[Context, str]]:
        """Yield what the children do that have a job: its context, and the stacks of their threads; callable from any thread."""
        for child in tuple(self._children):
            pipe = None if child.process.stdin is None else child.process.stdin.get_extra_info("pipe")
            if child.reporter is not None and pipe is not None and not pipe.closed:
                yield child.context, child.stacks.ask(pipe.fileno())

    async def close(self) -> None:
        """End all children: idle ones by themselves, so that exporters send what they have; the others are killed."""
        for child in tuple(self._children):
            if child in self._idle:
                child.writer.write_eof()  # and not closed: it may log
            else:
                child.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                for child in tuple(self._idle):
                    await child.process.wait()
        for child in tuple(self._children):
            child.kill()
        for child in tuple(self._children):
            await self._end(child)
        await self._listening.close()

    async def _take(self) -> _Child:
        """Return a living child: one that died while idle must not count against the next job."""
        while self._idle:
            child = self._idle.pop()
            if child.process.returncode is None and not child.is_gone:
                return child
            await self._end(child)
        return await self._start()

    async def _hand_over(self, run: Run, reporter: Reporter) -> _Child:
        """Give the job to a child that says it has it; one that died while idle is no crash of the job.

        Raises:
            ChildProcessError: New children say why they cannot take jobs: none of those that need one runs here.
            ShortageError: They cannot start, or die before they take a job.
        """
        for _ in range(len(self._idle) + NEW_CHILDREN):
            child = await self._take()
            child.reporter, child.context = reporter, copy_context()  # before it has the job: it may speak at once
            try:
                child.writer.write(frame(run))
                await child.writer.drain()
                answer = await child.answer()
            except ConnectionError:
                await self._end(child)
                continue
            except BaseException:
                child.kill()
                await self._end(child)
                raise
            if not isinstance(answer, Broken):
                return child
            await self._end(child)
            reason = f"no child process can start: {answer.reason}"
            raise ShortageError(reason) if answer.is_short else ChildProcessError(reason)
        raise ShortageError(f"{NEW_CHILDREN} child processes died before they took the job")

    async def _start(self) -> _Child:
        """Start a child.

        Raises:
            ChildProcessError: A middleware, or what overrides a resource, cannot be handed to it; or this is Windows.
            ShortageError: The system does not let it.
        """
        if IS_WINDOWS:
            raise ChildProcessError("no child process can start: process=True needs another system than Windows")
        setup = frame(self._setup())
        with starting("child process"):
            child = await _spawn()
        self._children.add(child)
        _ = self._listening.start(child.listen(), "naq-child", context=Context())  # not that of the first job
        child.writer.write(setup)
        return child

    def _setup(self) -> Setup:
        return Setup(
            sys.path,
            self._serializer,
            rules_for_child(self._allowed),
            levels=relay.levels(),
            logs=self._logs,
            imports=self._imports,
            hooks=self._pickle_hooks(),
            middleware=[
                _pickled(each, f"the middleware {name_of(each)}", "give it by its name, as 'module:name'")
                for each in self._middleware
            ],
            overrides=[
                _pickled(each, f"what overrides {each[0].name}", "give what can be pickled") for each in overrides().items()
            ],
        )

    def _pickle_hooks(self) -> list[bytes]:
        if self._pickled_hooks is None:
            self._pickled_hooks = []
            for hook in self._hooks:
                try:
                    self._pickled_hooks.append(encode_pickle(hook, f"hook {hook!r}"))
                except EncodeError as error:
                    log.warning("%s: not called in child processes; make it a module-level function", error)
        return self._pickled_hooks

    async def _end(self, child: _Child) -> str:
        """End a child and say how it ended; one that has closed its socket may still be running."""
        child.writer.close()
        try:
            async with asyncio.timeout(DYING):
                await child.process.wait()
        except TimeoutError:
            child.kill()
            try:
                async with asyncio.timeout(DYING):
                    await child.process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()
        child.kill()  # closes the pipe
        child.stacks.close()
        if child in self._idle:
            self._idle.remove(child)
        self._children.discard(child)
        code = await child.process.wait()
        if code >= 0:
            return f"the child process exited with code {code} while running the job"
        with contextlib.suppress(ValueError):
            return f"the child process was killed by {signal.Signals(-code).name} while running the job"
        return f"the child process was killed by signal {-code} while running the job"
