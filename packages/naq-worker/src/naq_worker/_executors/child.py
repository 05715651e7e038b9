"""The child process of `process=True` jobs: runs one job at a time until its socket closes.

Started by `processes.py` as `python -m naq_worker._executors.child SOCKET STACKS`: two file descriptors.
"""

import asyncio
import atexit
import contextlib
import faulthandler
import inspect
import logging
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from types import FrameType
from typing import Any

from naq_core.batches import alone
from naq_core.commands import import_modules
from naq_core.context import JobContext, set_current_job
from naq_core.envelope import Envelope, decode_envelope
from naq_core.errors import ConfigurationError, DecodeError
from naq_core.hooks import Hooks
from naq_core.layers import NO_LAYERS, Layer, around, load
from naq_core.middleware import Attempt
from naq_core.opened import OpenResources
from naq_core.platforms import DUMP_SIGNAL, at_fork
from naq_core.record import LogLine
from naq_core.resources import set_overrides
from naq_core.serialization import decode_pickle
from naq_core.signals import reset_in_forks, stopping
from naq_core.standard_streams import guard_standard_streams, treat_output_as_log
from naq_core.tasks import Background
from naq_worker._executors.frames import (
    LENGTH_BYTES,
    Broken,
    FromChild,
    Line,
    Logged,
    Report,
    Run,
    Setup,
    Started,
    decode_to_child,
    ended,
    frame,
)
from naq_worker._executors.guard import fork_under_guard
from naq_worker._executors.relay import Relay, set_levels, take_over
from naq_worker._invoke import context_of, end_copy, format_traceback, is_async, of_error, of_value, prepare, within, within_plain
from naq_worker._logs import install_log_factory
from naq_worker._shortage import lack_in, lack_of, noticing
from naq_worker.outcome import Outcome, Short


class Child:
    """The life of a child process."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.RLock()
        self._outgoing: deque[bytes] = deque()
        self._is_sending = False
        self._setup = Setup([], "pickle", [])
        self._layers = NO_LAYERS
        """The middleware of the settings."""
        self._hooks = Hooks((), "")
        self._resources = OpenResources(_here)
        self._run: Run | None = None
        """The job that runs: what an earlier one has left running reports nothing."""
        self._context = copy_context()
        """What each attempt starts from."""
        self._process = os.getpid()
        self._runner: asyncio.Runner | None = None
        """One event loop for all jobs, so that clients in modules live as long as it; None until something needs it."""
        release = self._sending.release
        at_fork(before=self._sending.acquire, after_in_parent=release, after_in_child=release)

    def serve(self) -> None:
        """Run jobs until the worker closes the socket."""
        while (data := self._receive()) is not None:
            message = decode_to_child(data)
            if isinstance(message, Run):
                self._work(message)
            elif (broken := self._set_up(message)) is not None:
                self._send(broken)
                return
        if self._resources or self._hooks:
            self._await(self._end(), self._context)

    async def _end(self) -> None:
        await self._resources.close()
        await self._hooks.stop()

    def _set_up(self, setup: Setup) -> Broken | None:
        """Become like the worker; return what is in the way."""
        self._setup = setup
        sys.path[:] = setup.path
        set_levels(setup.levels)
        relay = Relay(lambda begin_at, fields: self._send(Logged(begin_at, fields)))
        logging.lastResort = relay  # while nothing is set up: a module's `logging.basicConfig` is to work as in the worker
        if setup.logs:
            install_log_factory()
        if (problem := import_modules(setup.imports)) is not None:
            return Broken(problem, is_short=lack_in(problem) is not None)
        try:
            set_overrides(dict(decode_pickle(each, "override") for each in setup.overrides))
            self._layers = load([decode_pickle(each, "middleware") for each in setup.middleware], "the worker's settings")
        except (ConfigurationError, DecodeError) as error:
            return Broken(str(error), is_short=lack_of(error) is not None)
        try:
            self._hooks = Hooks([decode_pickle(each, "hook") for each in setup.hooks], "the worker's settings")
            if self._hooks:
                self._await(self._hooks.start(), self._context)
        except BaseException as error:  # noqa: BLE001 - the boundary: reported to the worker
            return Broken(f"a hook failed at the start: {format_traceback(error)}", is_short=lack_of(error) is not None)
        self._resources.context = self._context
        take_over(relay)
        return None

    def _work(self, run: Run) -> None:
        _keep_signals()
        envelope = decode_envelope(run.envelope)  # before it has the job: a lack of memory is not the job's doing
        with self._sending:
            self._run = run
            self._send(Started())
        outcome = self._outcome(run, envelope)
        end_copy(self._process)
        with self._sending:
            self._run = None
            try:
                self._send(ended(outcome))
            except MemoryError:
                self._send(ended(Short("not enough memory to hand over the result", may_be_the_jobs=True)))

    def _outcome(self, run: Run, envelope: Envelope) -> Outcome:
        context = self._context.copy()
        job = context_of(
            envelope,
            run.queue,
            run.attempt,
            run.fence,
            run.crashes,
            run.parents,
            _report=partial(self._report, run),
            _log=partial(self._log, run),
            _keeps_logs=self._setup.logs,
        )
        context.run(set_current_job, job)
        try:
            value = context.run(self._call, run, envelope, job)
            if isinstance(value, _Between):
                value = self._call_between(value, context)
            elif inspect.isawaitable(value):
                value = self._await(value, context)
            return context.run(of_value, value, self._setup.serializer)
        except BaseException as error:  # noqa: BLE001 - the boundary: every error is an outcome
            return of_error(error, envelope.opt.retry, envelope.source)

    def _call(self, run: Run, envelope: Envelope, job: JobContext) -> Any:
        """Call the function; return its result, or what is to be awaited, or what is to be called between async middleware."""
        function, args, kwargs = prepare(envelope, run.parents, self._setup.serializer, self._setup.allowed)
        function = alone(function)
        layers = self._resources.around(self._layers, run.queue, function)
        if not layers:
            return function(*args, **kwargs)
        attempt = Attempt(job, function, args, kwargs)
        if is_async(function):
            return within(layers, attempt, self._process)
        outer = [layer for layer in layers if layer.is_async]
        inner = partial(within_plain, layers, attempt, self._process)
        if outer:
            return _Between(outer, attempt, inner)
        inner()
        return attempt.result

    def _call_between(self, between: "_Between", context: Context) -> Any:
        """Call a plain function within async middleware: outside of the event loop, which it may want to run itself."""
        if self._await(between.begin(), context):
            between.call()
        self._await(between.end(), context)
        return between.attempt.result

    def _await(self, awaitable: Awaitable[Any], context: Context) -> Any:
        """Await in this process's event loop; one that is stopped under the job is replaced.

        Raises:
            ShortageError: There is no event loop, and the system does not let one be made.
        """
        if self._runner is None:
            try:
                self._runner = _new_runner()
            except BaseException:
                if inspect.iscoroutine(awaitable):
                    awaitable.close()
                raise
        has_ended = False

        async def to_its_end() -> Any:
            nonlocal has_ended
            try:
                return await awaitable
            finally:
                has_ended = True

        try:
            return self._runner.run(to_its_end(), context=context)
        finally:
            if not has_ended:
                self._drop_loop()

    def _drop_loop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()  # which ends the resources of this loop, too
            self._resources = OpenResources(_here)
            self._resources.context = self._context

    def _receive(self) -> bytes | None:
        if self._runner is not None:
            self._turn_until_readable(self._runner)
        head = self._exactly(LENGTH_BYTES)
        return None if head is None else self._exactly(int.from_bytes(head, "big"))

    def _turn_until_readable(self, runner: asyncio.Runner) -> None:
        """Let the event loop turn while the worker has no job: connections answer, clients time out, tasks go on."""
        try:
            runner.run(self._readable(), context=self._context.copy())
        except (SystemExit, KeyboardInterrupt, RuntimeError):  # of a task that a job has left
            self._drop_loop()

    async def _readable(self) -> None:
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._socket)

    def _exactly(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(min(count - len(parts), 1 << 20))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def _send(self, message: FromChild) -> None:
        with self._sending:
            self._outgoing.append(frame(message))
            if self._is_sending:  # a destructor that logs, in the middle of another frame
                return
            self._is_sending = True
            try:
                while self._outgoing:
                    self._socket.sendall(self._outgoing.popleft())
            finally:
                self._is_sending = False

    def _report(self, run: Run, done: float, total: float | None, note: str) -> None:
        with self._sending:
            if self._run is run:
                self._send(Report(done, total, note))

    def _log(self, run: Run, line: LogLine) -> None:
        with self._sending:
            if self._run is run:
                self._send(Line(line))


class _Between:
    """Async layers around a plain function: they wait in the event loop, which stands still while the function runs."""

    def __init__(self, layers: Sequence[Layer], attempt: Attempt, function: Callable[[], None]) -> None:
        self.attempt = attempt
        self._layers = layers
        self._function = function
        self._inside: Context | None = None
        self._error: BaseException | None = None

    async def begin(self) -> bool:
        """Enter the layers; return whether the function is to be called."""
        self._reached, self._go_on = asyncio.Event(), asyncio.Event()
        chain = around(self._layers, self.attempt, self._wait_inside)
        self._task = Background().start(chain, "naq-middleware", is_awaited=True)
        self._task.add_done_callback(lambda _: self._reached.set())
        await self._reached.wait()
        return self._inside is not None

    def call(self) -> None:
        """Call the function in the innermost layer's context, and keep its error for the layers."""
        assert self._inside is not None  # noqa: S101 - `begin` said so
        try:
            self._inside.run(self._function)
        except BaseException as error:  # noqa: BLE001 - the layers are to see whatever it is
            self._error = error

    async def end(self) -> None:
        """Leave the layers, and raise what they raise."""
        self._go_on.set()
        await self._task

    async def _wait_inside(self) -> None:
        self._inside = copy_context()
        self._reached.set()
        await self._go_on.wait()
        if self._error is not None:
            raise self._error
        if inspect.isawaitable(self.attempt.result):
            self.attempt.result = await self.attempt.result


async def _here(call: Callable[[], Any]) -> Any:
    """Call a function in the event loop of the process, which waits for nothing else."""
    return call()


def _new_runner() -> asyncio.Runner:
    runner = asyncio.Runner()
    with noticing("no event loop can be made"):
        runner.get_loop()
    return runner


def _keep_signals() -> None:
    """Survive the signals that stop the worker, which systemd sends to all of its processes: the worker decides, and kills.

    By a handler: unlike `SIG_IGN` it ends with `exec`, so that the programs which a job starts can be terminated; and so can
    what it forks.
    """
    for each in stopping():
        signal.signal(each, _stay)
        signal.siginterrupt(each, False)
    reset_in_forks(_stay)


def _stay(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


def main() -> None:
    """Serve the socket given by its file descriptor."""
    channel, stacks = int(sys.argv[1]), int(sys.argv[2])
    fork_under_guard(channel, stacks)
    if DUMP_SIGNAL is not None:
        faulthandler.register(DUMP_SIGNAL, file=stacks, all_threads=True)
    guard_standard_streams()
    treat_output_as_log()
    _keep_signals()
    # The pipe breaks when the worker is gone: no reason to go on.
    broken = contextlib.suppress(BrokenPipeError, ConnectionResetError)
    with socket.socket(fileno=channel) as connection, broken:
        Child(connection).serve()
        try:
            # Not the whole end of an interpreter, which waits for threads that jobs have left.
            atexit._run_exitfuncs()  # noqa: SLF001
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()
