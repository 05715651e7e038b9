"""What a worker is doing: the stacks of its jobs, threads and child processes as text, without the values of any variable.

Called from the keep-alive thread: that it also answers while a job blocks the event loop is the point.
"""

import asyncio
import linecache
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from types import FrameType
from typing import Any, TypeAlias

from naq_core.context import job_in
from naq_core.storage.control import ControlReply, ControlRequest
from naq_core.wording import span
from naq_worker._active import Active
from naq_worker._executors.processes import Processes
from naq_worker._executors.threads import Threads

MOST_BYTES = 64 * 1024
"""Of the whole text."""
MOST_FRAMES = 60
"""Of one stack, the innermost."""
MOST_STACKS = 200

Line: TypeAlias = tuple[FrameType, int]
"""A frame, and the line at which it is."""


class Stacks:
    """Describes what one worker does; to be made in its event loop.

    Args:
        held: Returns the jobs in hand.
        threads: Where plain functions run.
        processes: The child processes.
        now: Returns the server's time.
    """

    def __init__(
        self, held: Callable[[], Iterable[Active]], threads: Threads, processes: Processes, now: Callable[[], float]
    ) -> None:
        self._held = held
        self._threads = threads
        self._processes = processes
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._main_thread = threading.get_ident()

    def answer(self, request: ControlRequest) -> ControlReply:
        """Answer a request for the stacks."""
        if request.verb != "stack":
            return ControlReply(done=False)
        return ControlReply(done=True, text=self.text())

    def text(self) -> str:
        """Return all of it, bounded."""
        parts = list(islice(self._stacks(), MOST_STACKS + 1))
        if len(parts) > MOST_STACKS:
            parts[-1] = "more stacks omitted\n"
        data = "\n".join(parts).encode("utf-8", "backslashreplace")
        text = data[:MOST_BYTES].decode("utf-8", "ignore")
        return text if len(data) <= MOST_BYTES else f"{text}\n… truncated\n"

    def _stacks(self) -> Iterator[str]:
        for active in tuple(self._held()):
            yield self._job(active)
        for task in self._other_tasks():
            yield _stack(f"task {task.get_name()}", _awaited(task))
        names = {each.ident: each.name for each in threading.enumerate()}
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way to see other threads
            if ident != threading.get_ident():
                yield _stack(self._thread(ident, names.get(ident, "unknown")), _frames(frame))
        for context, text in self._processes.stacks():
            job = job_in(context)
            yield f"child process{f' of job {job.job_id} ({job.function})' if job else ''}\n{text}"

    def _job(self, active: Active) -> str:
        delivery, running = active.delivery, active.running
        name = f"job {delivery.job_id} of {delivery.queue}"
        task = getattr(active, "task", None)  # this is not the thread of the event loop: the job may end at any moment
        if running is None or task is None:
            return f"{name} {'waits for a slot' if task is None else 'is being claimed or recorded'}\n"
        return _stack(f"{name}: {running.job[1]}, {span(self._now() - active.started_at)}", _awaited(task))

    def _other_tasks(self) -> list["asyncio.Task[Any]"]:
        """Return the tasks that jobs and hooks have started; those of the worker are hidden."""
        with suppress(RuntimeError):  # the set changes while it is copied, again and again
            return [each for each in asyncio.all_tasks(self._loop) if not each.done()]
        return []

    def _thread(self, ident: int, name: str) -> str:
        if ident == self._main_thread:
            return f"thread {name}, of the event loop"
        context = self._threads.contexts.get(ident)
        job = None if context is None else job_in(context)
        return f"thread {name}{f', of job {job.job_id} ({job.function})' if job else ''}"


def _awaited(task: "asyncio.Task[Any]") -> Iterator[Line]:
    """Yield the frames of a task from the outermost to what it awaits; `Task.get_stack` returns the outermost only."""
    awaitable: Any = task.get_coro()
    while awaitable is not None:
        kind = next((each for each in ("cr", "gi", "ag") if hasattr(awaitable, f"{each}_frame")), None)
        if kind is None:
            return
        frame = getattr(awaitable, f"{kind}_frame")
        if frame is not None:
            yield frame, frame.f_lineno
        awaitable = getattr(awaitable, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def _frames(innermost: FrameType) -> Iterator[Line]:
    """Yield the frames of a thread, the outermost first."""
    found = []
    frame: FrameType | None = innermost
    while frame is not None:
        found.append((frame, frame.f_lineno))
        frame = frame.f_back
    yield from reversed(found)


def _stack(title: str, frames: Iterable[Line]) -> str:
    """Return frames as a traceback has them, without the worker's own outermost ones."""
    lines = list(frames)
    begin = next((at for at, (frame, _) in enumerate(lines) if not _is_ours(frame)), max(0, len(lines) - 1))
    shown = lines[begin:][-MOST_FRAMES:]
    return f"{title}\n{''.join(_line(frame, number) for frame, number in shown)}"


def _line(frame: FrameType, number: int) -> str:
    code = frame.f_code
    text = linecache.getline(code.co_filename, number, frame.f_globals).strip()
    return f'  File "{code.co_filename}", line {number}, in {code.co_qualname}\n' + (f"    {text}\n" if text else "")


def _is_ours(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__package__") or frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in {"naq_worker", "asyncio", "threading"}
