"""Opening resources where a function needs them, and closing them again.

What resources are is in `docs/resources.md` and `docs/adr/0049-the-life-of-a-worker.md`; `resources.py` declares them.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from contextvars import copy_context
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from naq_core.errors import ResourceError, shown
from naq_core.hooks import entered_by
from naq_core.layers import Layer, Layers, around_attempts, has_declared, in_order, name_origin, origin_of
from naq_core.resources import GivenCall, Need, Resource, has_resources, needs_of, overrides
from naq_core.tasks import Background

log = logging.getLogger(__name__)

T = TypeVar("T")

InThread: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
CLOSING = 10.0
"""Seconds that closing one resource may take: a pool may wait for a connection that an abandoned job still has."""


class _Plan(NamedTuple):
    """What is opened for a function, and where."""

    outer: tuple[Need, ...]
    """In the event loop."""
    inner: tuple[Need, ...]
    """In the thread of the function: plain resources of one attempt."""


_NOTHING = _Plan((), ())
_plans: "WeakKeyDictionary[Callable[..., Any], _Plan]" = WeakKeyDictionary()


def _plan_of(function: Callable[..., Any]) -> _Plan:
    if type(function) is not FunctionType:
        return _make_plan(function)
    try:
        return _plans[function]
    except KeyError:
        plan = _plans[function] = _make_plan(function)
        return plan


def _make_plan(function: Callable[..., Any]) -> _Plan:
    needs = needs_of(function)
    if not needs:
        return _NOTHING
    for need in needs:
        _check(need.resource, ())
    if inspect.iscoroutinefunction(inspect.unwrap(function)):
        return _Plan(needs, ())
    inner = tuple(need for need in needs if need.resource.scope == "attempt" and not _needs_loop(need.resource))
    return _Plan(tuple(need for need in needs if need not in inner), inner)


def _check(resource: Resource, above: tuple[Resource, ...]) -> None:
    if resource in above:
        raise ResourceError(resource.name, f"needs itself: {' → '.join(each.name for each in (*above, resource))}")
    for need in needs_of(resource.opener):
        if resource.scope == "process" and need.resource.scope == "attempt":
            raise ResourceError(resource.name, f'is open longer than {need.resource.name}, which it needs: use scope="attempt"')
        _check(need.resource, (*above, resource))


def _needs_loop(resource: Resource) -> bool:
    """Whether it is async, or needs one of the attempt's that is; those of the process are there before."""
    return resource.kind == "async" or any(
        _needs_loop(need.resource) for need in needs_of(resource.opener) if need.resource.scope == "attempt"
    )


class _Kept:
    """A resource of the process, held open by a task of its own: what is entered in one task must be left in it."""

    def __init__(self) -> None:
        self.value: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.closing = asyncio.Event()
        self.task: asyncio.Task[None]


class OpenResources:
    """The resources of one process, on one event loop.

    Args:
        in_thread: Runs a function in a thread: where plain resources of the process are opened and closed.
        is_hidden: Only `close` ends them, and not the end of the event loop.
    """

    def __init__(self, in_thread: InThread, *, is_hidden: bool = False) -> None:
        self.context = copy_context()
        """What resources of the process are opened in."""
        self._in_thread = in_thread
        self._kept: dict[Resource, _Kept] = {}
        self._open: list[tuple[Resource, _Kept]] = []
        """In the order in which they were opened."""
        self._tasks = Background(is_hidden=is_hidden)

    def __bool__(self) -> bool:
        """Whether any is open or being opened."""
        return bool(self._kept)

    def around(self, layers: Layers, queue: str, function: Callable[..., Any]) -> list[Layer]:
        """Return the layers around an attempt: its middleware, and inside of it the resources that the function needs.

        Raises:
            ResourceError: They cannot be opened as they are declared.
        """
        found = around_attempts(layers, queue, function) if layers.attempt or has_declared() else []
        own = self.layers(function) if has_resources() else ()
        return in_order((*found, *own)) if own else found

    def layers(self, function: Callable[..., Any]) -> tuple[Layer, ...]:
        """Return the layers that open the resources of a function, around a `GivenCall`."""
        plan = _plan_of(function)
        if plan is _NOTHING:
            return ()
        # Those of the process that the inner ones need are opened by the outer layer.
        opened: dict[Resource, Any] = {}
        outer = Layer("", functools.partial(self._outer, plan, opened), is_async=True, queues=frozenset())
        if not plan.inner:
            return (outer,)
        return outer, Layer("", functools.partial(_inner, plan.inner, opened), is_async=False, queues=frozenset())

    async def _outer(self, plan: _Plan, opened: dict[Resource, Any], call: GivenCall) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for need in plan.inner:
                await self._open_shared(need.resource, opened)
            for need in plan.outer:
                call.give(need, await self._open_one(need.resource, opened, stack))
            yield

    async def _open_shared(self, resource: Resource, opened: dict[Resource, Any]) -> None:
        if resource in overrides():
            return
        if resource.scope == "process":
            opened[resource] = await self.get(resource)
            return
        for need in needs_of(resource.opener):
            await self._open_shared(need.resource, opened)

    async def _open_one(self, resource: Resource, opened: dict[Resource, Any], stack: AsyncExitStack) -> Any:
        """Return the value of a resource; one of the attempt is closed by the stack."""
        if resource in overrides():
            return overrides()[resource]
        if resource.scope == "process":
            return await self.get(resource)
        if resource not in opened:
            given = {need.parameter: await self._open_one(need.resource, opened, stack) for need in needs_of(resource.opener)}
            with _naming(resource):
                made = entered_by(resource.opener)(**given)
                if hasattr(type(made), "__aenter__"):
                    opened[resource] = await made.__aenter__()
                    stack.push_async_exit(functools.partial(_leave_async, resource, made))
                else:
                    opened[resource] = _enter(resource, made)
                    stack.push(functools.partial(_leave, resource, made))
        return opened[resource]

    async def get(self, resource: Resource) -> Any:
        """Return the value of a resource of the process; the first who asks has it opened, the others wait.

        Raises:
            Exception: It cannot be opened; the next who asks tries again.
        """
        if resource in overrides():
            return overrides()[resource]
        kept = self._kept.get(resource)
        if kept is None:
            kept = self._kept[resource] = _Kept()
            kept.task = self._tasks.start(
                self._keep(resource, kept), f"naq-resource {resource.name}", context=self.context.copy()
            )
        if not kept.value.done():
            await asyncio.wait([kept.value])  # cancelling one job that waits does not cancel the opening for others
        return kept.value.result()

    async def _keep(self, resource: Resource, kept: _Kept) -> None:
        """Open a resource, hold it until it is to be closed, and close it."""
        error: BaseException | None = None
        try:
            given = {need.parameter: await self.get(need.resource) for need in needs_of(resource.opener)}
            async with self._entered(resource, given) as value:
                kept.value.set_result(value)
                self._open.append((resource, kept))
                await kept.closing.wait()
        except BaseException as raised:  # noqa: BLE001 - told to those who wait, or logged
            error = raised
        if self._kept.get(resource) is kept:
            del self._kept[resource]
        if (resource, kept) in self._open:
            self._open.remove((resource, kept))
        if not kept.value.done():
            kept.value.set_exception(_failure(resource, error))
            kept.value.exception()  # read, though nobody may wait any more
        elif isinstance(error, Exception):
            what = "could not be closed" if kept.closing.is_set() else "has failed while it was open; the next job opens it again"
            log.error("resource %s %s", resource.name, what, exc_info=error)

    @asynccontextmanager
    async def _entered(self, resource: Resource, given: dict[str, Any]) -> AsyncIterator[Any]:
        """Enter what opens a resource: async in the event loop, plain in a thread."""
        factory = functools.partial(entered_by(resource.opener), **given)
        context = copy_context()

        async def in_thread(call: Callable[[], T]) -> T:
            return await self._in_thread(functools.partial(context.run, call))  # type: ignore[no-any-return]  # as `call` returns

        made = await in_thread(factory) if resource.kind == "plain" else factory()
        if hasattr(type(made), "__aenter__"):
            async with made as value:
                yield value
            return
        value = await in_thread(lambda: _enter(resource, made))
        try:
            yield value
        finally:
            await in_thread(lambda: made.__exit__(None, None, None))

    async def close(self) -> None:
        """Close all, the last one first; an error is logged, and what does not end within 10 seconds is cancelled."""
        while self._open:
            resource, kept = self._open.pop()
            kept.closing.set()
            if not (await asyncio.wait([kept.task], timeout=CLOSING))[0]:
                log.error("resource %s was not closed within %g s", resource.name, CLOSING)
        if left := tuple(self._tasks.tasks):  # those, and what is still being opened
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=CLOSING)


def _failure(resource: Resource, error: BaseException | None) -> Exception:
    """Return what those are told who wait for a resource that cannot be opened."""
    if isinstance(error, Exception):
        _name(error, resource)
        return error
    failure = ResourceError(resource.name, f"was not opened: {error!r}")
    failure.__cause__ = error
    return failure


def _name(error: BaseException, resource: Resource) -> None:
    if not origin_of(error):  # of another resource, that this one needs
        name_origin(error, f"resource {resource.name}")


@contextmanager
def _naming(resource: Resource, besides: BaseException | None = None) -> Iterator[None]:
    """Let an error that is raised in the block name the resource.

    Args:
        besides: That of the attempt, which is not the resource's.
    """
    try:
        yield
    except BaseException as error:
        if error is not besides:
            _name(error, resource)
        raise


def _inner(needs: Iterable[Need], opened: dict[Resource, Any], call: GivenCall) -> Iterator[None]:
    with ExitStack() as stack:
        for need in needs:
            call.give(need, _open_plain(need.resource, opened, stack))
        yield


def _open_plain(resource: Resource, opened: dict[Resource, Any], stack: ExitStack) -> Any:
    if resource in overrides():
        return overrides()[resource]
    if resource not in opened:
        given = {need.parameter: _open_plain(need.resource, opened, stack) for need in needs_of(resource.opener)}
        with _naming(resource):
            made = entered_by(resource.opener)(**given)
            opened[resource] = _enter(resource, made)
            stack.push(functools.partial(_leave, resource, made))
    return opened[resource]


def _enter(resource: Resource, made: Any) -> Any:
    if hasattr(type(made), "__enter__"):
        return made.__enter__()
    if hasattr(type(made), "__aenter__"):
        problem = "returns an async context manager, to a function that runs in a thread: write an async generator function"
    else:
        problem = f"takes a generator function or what returns a context manager, not {shown(made)}"
    raise ResourceError(resource.name, problem)


def _leave(resource: Resource, made: Any, kind: Any, error: BaseException | None, frames: Any) -> None:
    """Leave a context manager; the error of the attempt stays, also where it is caught there."""
    with _naming(resource, error):
        made.__exit__(kind, error, frames)


async def _leave_async(resource: Resource, made: Any, kind: Any, error: BaseException | None, frames: Any) -> None:
    with _naming(resource, error):
        await made.__aexit__(kind, error, frames)
