"""Hooks: functions of the program that are called when a process of NAQ starts, and go on when it ends.

`docs/workers.md` explains them. Child processes and schedulers call the same ones as workers.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncContextDecorator, ContextDecorator, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from naq_core._settings_values import hooks
from naq_core.errors import ConfigurationError, HookError, InvalidOptionError, shown
from naq_core.functions import function_name
from naq_core.references import import_reference
from naq_core.settings import Settings
from naq_core.tasks import beside, hide

log = logging.getLogger(__name__)

Hook: TypeAlias = Callable[[], Awaitable[None] | None]


def entered_by(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that returns a context manager where the given one is a generator function, else the given one."""
    if inspect.isasyncgenfunction(function):
        return asynccontextmanager(function)
    return contextmanager(function) if inspect.isgeneratorfunction(function) else function


class Hooks:
    """The hooks of one process.

    Args:
        given: Functions, or their names as `module:function`.
        source: Where they were given, for errors.

    Raises:
        ConfigurationError: One cannot be imported, or is no function.
    """

    def __init__(self, given: Iterable[Any], source: str) -> None:
        self._functions = [_find(each, source) for each in given]
        self._begun: list[tuple[str, Any]] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._functions)

    async def start(self) -> None:
        """Call all of them, one after the other, in the current context. Where one fails, those before it are ended.

        Raises:
            HookError: One has failed. What is no `Exception`, such as `SystemExit`, is raised as it is.
        """
        for name, function in self._functions:
            try:
                made = entered_by(function)()
                if isinstance(made, AsyncContextDecorator):
                    await made.__aenter__()  # type: ignore[attr-defined]  # contextlib's
                elif isinstance(made, ContextDecorator):
                    made.__enter__()  # type: ignore[attr-defined]  # as above
                else:
                    if inspect.isawaitable(made):
                        await made
                    continue
            except BaseException as error:
                failure = _failure(name, "start", error)
                await self.stop()
                if failure is error:
                    raise
                raise failure from error
            self._begun.append((name, made))

    async def start_unless(self, stop: asyncio.Event) -> None:
        """Call all of them as `start` does; where the event is set meanwhile, the one that waits is cancelled and the others end.

        Raises:
            HookError: One has failed.
        """
        if stop.is_set():
            return
        async with beside(stop.wait()) as is_set:
            hide(is_set)
            try:
                async with asyncio.timeout(None) as scope:
                    give_up = partial(_give_up, scope)
                    is_set.add_done_callback(give_up)
                    try:
                        await self.start()
                    finally:
                        is_set.remove_done_callback(give_up)
            except TimeoutError:
                log.info("the start of the hooks was given up")

    async def stop(self) -> BaseException | None:
        """Let those with a `yield` go on after it, the last one first, whatever they raise; return the first error."""
        first: BaseException | None = None
        while self._begun:
            name, made = self._begun.pop()
            try:
                await _leave(made)
            except BaseException as error:  # noqa: BLE001 - logged, and the first is raised
                failure = _failure(name, "end", error)
                first = first or failure
        return first


def with_start_and_end(settings: Settings, start: Iterable[Hook], end: Iterable[Hook]) -> Settings:
    """Return settings with hooks that are only for the start, and others that are only for the end, in their order.

    Raises:
        InvalidOptionError: One is no function.
    """
    try:
        at_end = [partial(_at_end, each) for each in reversed(hooks(end))]  # the last hook ends first
        return replace(settings, hooks=(*at_end, *settings.hooks, *hooks(start)))
    except ValueError as error:
        raise InvalidOptionError("on_startup, on_shutdown", str(error)) from error


def _give_up(scope: asyncio.Timeout, _: object) -> None:
    scope.reschedule(0)


async def _at_end(function: Hook) -> AsyncIterator[None]:
    yield
    result = function()
    if inspect.isawaitable(result):
        await result


def _failure(name: str, when: str, error: BaseException) -> BaseException:
    """Log what a hook has raised, as the commands print one line of it, and return what is to be raised."""
    if not isinstance(error, Exception):
        return error
    log.error("hook %s failed at the %s", name, when, exc_info=error)
    failure = HookError(name, when, error)
    failure.__cause__ = error
    return failure


def _leave(made: Any) -> Awaitable[object]:
    if isinstance(made, AsyncContextDecorator):
        return made.__aexit__(None, None, None)  # type: ignore[attr-defined,no-any-return]  # as above

    async def leave() -> None:
        made.__exit__(None, None, None)

    return leave()


def _find(given: Any, source: str) -> tuple[str, Callable[..., Any]]:
    if not isinstance(given, str):
        return function_name(given), given
    found = import_reference(given, "hooks", source)
    if not callable(found) or isinstance(found, type):
        raise ConfigurationError("hooks", f"{given} is not a function, but {shown(found)}", source)
    return given, found
