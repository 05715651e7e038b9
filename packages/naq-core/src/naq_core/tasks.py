"""Tasks that have an owner: the error of each one is reported, and each one ends with its owner.

Everything else is banned by ruff (TID251) and by a test: an `asyncio.create_task` whose result is not read hides its error.
"""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeAlias, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

INSIST = 1.0
"""Seconds after which a task that has swallowed its cancellation is cancelled again."""

_Errors: TypeAlias = Callable[[BaseException], None]


def hide(task: "asyncio.Task[Any]") -> None:
    """Take a task out of `asyncio.all_tasks()`, so that only its owner cancels it.

    `asyncio.run` cancels all tasks of the loop when its program ends. A service that must first hand something back would be
    torn in the middle of a write. It ends all the same: the call that owns it is cancelled, and waits for it (`finish`).
    """
    asyncio._unregister_task(task)  # noqa: SLF001 - part of asyncio's documented interface ("Extending")


async def finish(
    coroutine: Coroutine[Any, Any, T], on_cancel: Callable[["asyncio.Task[T]"], None] = lambda _: None, *, name: str = "naq"
) -> T:
    """Run a coroutine to its end, even where the caller is cancelled meanwhile; the cancellation is raised afterwards.

    Args:
        coroutine: What must not be torn apart.
        on_cancel: Called with its task at each cancellation of the caller, to make it come to an end.
        name: Of the task.

    Raises:
        asyncio.CancelledError: The caller was cancelled. An error of the coroutine is logged then.
    """
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    hide(task)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel(task)
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("%s failed after its cancellation", name, exc_info=failure)
    raise cancelled


async def end(task: "asyncio.Future[Any]", every: float = INSIST) -> None:
    """Cancel a task, again and again, until it has ended; its result or error is its owner's to read.

    Args:
        task: May have ended.
        every: Seconds between two cancellations: `asyncio.wait_for` of Python 3.11 swallows one that comes with the answer.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=every)


async def until(event: asyncio.Event, coroutine: Coroutine[Any, Any, None], grace: float = 0.0) -> bool:
    """Run a coroutine until it ends or an event is set; return whether it has ended.

    Args:
        event: Such as that of a stop, which must not wait for a server that does not answer.
        coroutine: What may be left unfinished then.
        grace: Seconds that it may go on after the event, before it is cancelled.

    Raises:
        Exception: What the coroutine raises.
    """
    task = asyncio.get_running_loop().create_task(coroutine, name="naq-until")
    hide(task)
    try:
        async with beside(event.wait()) as is_set:
            hide(is_set)
            await asyncio.wait([task, is_set], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([task], timeout=grace)
    finally:
        await end(task)
    if task.cancelled() and event.is_set():
        return False
    task.result()
    return True


class beside(Generic[T]):  # noqa: N801 - reads as a function: `async with beside(…) as task`
    """Run something beside the body, which is to read its result; it is cancelled at the end of the body.

    Not an asynchronous generator: those cannot begin while the event loop ends, when connections close.
    """

    def __init__(self, awaitable: Awaitable[T], name: str = "naq-beside") -> None:
        self._awaitable = awaitable
        self._name = name

    async def __aenter__(self) -> "asyncio.Task[T]":
        self._task = asyncio.get_running_loop().create_task(_awaited(self._awaitable), name=self._name)
        return self._task

    async def __aexit__(self, *exc_info: object) -> None:
        await end(self._task)
        if inspect.iscoroutine(self._awaitable):
            self._awaitable.close()  # does something only if the task was cancelled before its first step
        if not self._task.cancelled():
            self._task.exception()  # who did not want the result does not want its error


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


class Background:
    """Tasks that plain code starts, for an object with a `close()`.

    Args:
        on_error: Called with whatever an unawaited task raises. Default: it is logged.
        is_hidden: Only its owner cancels its tasks (`hide`).
    """

    def __init__(self, on_error: _Errors | None = None, *, is_hidden: bool = False) -> None:
        self._on_error = on_error or _report
        self._is_hidden = is_hidden
        self.tasks: set[asyncio.Task[Any]] = set()
        """Those that have not ended."""

    def start(
        self,
        coroutine: Coroutine[Any, Any, T],
        name: str = "naq",
        *,
        is_awaited: bool = False,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        """Start a task.

        Args:
            coroutine: What to run.
            name: Of the task.
            is_awaited: Its error is for those who await it.
            context: What it runs in. Default: a copy of the caller's.
        """
        task = asyncio.get_running_loop().create_task(coroutine, name=name, context=context)
        if self._is_hidden:
            hide(task)
        self.tasks.add(task)
        task.add_done_callback(self._forget if is_awaited else self._note)
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait for their ends."""
        while self.tasks:
            for task in tuple(self.tasks):
                await end(task)
                self.tasks.discard(task)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()

    def _note(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)


def _report(error: BaseException) -> None:
    log.critical("a background task failed", exc_info=error)


class Services:
    """What runs as long as a body; see `services`."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Start a service. An error of it ends them all; one that returns has done its part."""
        task = self._group.create_task(coroutine, name=name)
        hide(task)
        self.tasks.append(task)


@contextlib.asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """Run services beside the body: they are cancelled at its end, and the error of one cancels the body and is raised.

    A task group whose services only the group cancels, and which raises the first error itself, not in an exception group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            running = Services(group)
            yield running
            for task in running.tasks:
                task.cancel()
            for task in running.tasks:
                await end(task)
    except BaseExceptionGroup as raised:
        first, *others = _flat(raised)
        for other in others:
            log.error("another error while the services stopped", exc_info=other)  # noqa: TRY400 - not the one that is raised
        raise first from None


def _flat(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _flat(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
