"""Layers of middleware: found by their names, put into order, and run around a call.

What a middleware may do is in `docs/adr/0048-middleware.md` and `docs/middleware.md`; `naq_core.middleware` has what it is given.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from naq_core._settings_values import MIDDLEWARE_SIDES, middleware
from naq_core.control import JobControl
from naq_core.errors import ConfigurationError, InvalidOptionError, shown
from naq_core.functions import task_of
from naq_core.references import import_reference

FORM = "a generator with one yield: def {side}(self, {argument}): ...; yield; ... (or async def)"
ARGUMENTS = {"enqueue": "jobs", "attempt": "attempt"}


class Layer(NamedTuple):
    """One side of one middleware."""

    name: str
    """For people: `module:name`. Empty: it names its errors itself."""
    begin: Callable[[Any], Any]
    """Returns its generator, given what it is around."""
    is_async: bool
    queues: frozenset[str]
    """Those whose jobs it is for; empty for all."""


class Layers(NamedTuple):
    """Both sides of the middleware of a process or of a task, in the order in which they were given."""

    enqueue: tuple[Layer, ...] = ()
    attempt: tuple[Layer, ...] = ()


NO_LAYERS = Layers()

_instances: dict[type, Any] = {}
"""Middleware by its class, where it was given as a class or its name: one instance for each in a process."""
_of_tasks: "dict[Callable[..., Any], _Declared]" = {}
"""The middleware of tasks, by their functions; asked for each job whether it is empty."""


class _Declared:
    """The middleware of a task: found when it is needed first, so that modules may name each other."""

    def __init__(self, given: Sequence[Any]) -> None:
        self._given = given
        self._layers: Layers | None = None

    def layers(self) -> Layers:
        if self._layers is None:
            self._layers = load(self._given, "@task")
        return self._layers


def check_middleware(given: object) -> tuple[Any, ...]:
    """Return middleware as it may be given to a task.

    Raises:
        InvalidOptionError: A part of it is not middleware.
    """
    try:
        return middleware(given)
    except ValueError as error:
        raise InvalidOptionError("middleware", str(error)) from error


def declare(function: Callable[..., Any], given: Sequence[Any]) -> None:
    """Note the middleware of a task (done by `@task`)."""
    _of_tasks[function] = _Declared(given)


def has_declared() -> bool:
    """Whether any task of this process has middleware."""
    return bool(_of_tasks)


def load(given: Iterable[Any], source: str) -> Layers:
    """Return the layers of middleware that is given as names (`module:name`), classes or instances.

    Args:
        source: Where it was given, for errors.

    Raises:
        ConfigurationError: One cannot be imported or made, or is no middleware.
    """
    sides: dict[str, list[Layer]] = {side: [] for side in MIDDLEWARE_SIDES}
    for name, found in _each(given, source):
        own = [side for side in MIDDLEWARE_SIDES if getattr(found, side, None) is not None]
        if not own:
            raise _wrong(name, "has neither a method enqueue nor a method attempt", source)
        queues = _queues(found, name, source)
        for side in own:
            sides[side].append(_layer(name, side, getattr(found, side), queues, source))
    return Layers(*(tuple(sides[side]) for side in MIDDLEWARE_SIDES))


def _each(given: Iterable[Any], source: str) -> Iterator[tuple[str, Any]]:
    """Yield the names and instances of middleware; a name may be that of several."""
    for each in given:
        name, found = _find(each, source)
        if isinstance(found, tuple | list):
            yield from _each(found, source)
        else:
            yield name, found


def name_of(given: Any) -> str:
    """Return how errors call a middleware."""
    if isinstance(given, str):
        return given
    kind = given if isinstance(given, type) else type(given)
    return f"{kind.__module__}:{kind.__qualname__}"


def _find(given: Any, source: str) -> tuple[str, Any]:
    """Return the name and the instance of a middleware."""
    name = name_of(given)
    found = import_reference(name, "middleware", source) if isinstance(given, str) else given
    if not isinstance(found, type):
        return name, found
    if found not in _instances:
        try:
            _instances[found] = found()
        except Exception as error:
            raise _wrong(name, f"cannot be made without arguments: {type(error).__name__}: {error}", source) from error
    return name, _instances[found]


def _queues(found: Any, name: str, source: str) -> frozenset[str]:
    queues = getattr(found, "queues", ())
    if isinstance(queues, str) or not isinstance(queues, Iterable) or not all(isinstance(each, str) for each in queues):
        raise _wrong(name, f"its queues must be a list of names, not {shown(queues)}", source)
    return frozenset(queues)


def _layer(name: str, side: str, method: Any, queues: frozenset[str], source: str) -> Layer:
    is_async = inspect.isasyncgenfunction(method)
    if not is_async and not inspect.isgeneratorfunction(method):
        raise _wrong(name, f"its {side} is not {FORM.format(side=side, argument=ARGUMENTS[side])}", source)
    return Layer(name, method, is_async, queues)


def _wrong(name: str, problem: str, source: str) -> ConfigurationError:
    return ConfigurationError("middleware", f"{name} {problem}", source)


def in_order(layers: Iterable[Layer]) -> list[Layer]:
    """Return layers as they are run: the async ones outside, since the plain ones run where the function does."""
    return sorted(layers, key=lambda layer: not layer.is_async)


def around_attempts(layers: Layers, queue: str, function: Any) -> list[Layer]:
    """Return the layers around an attempt, in the order in which they are run.

    Args:
        layers: Those of the settings.
        function: What is called; its task may have more.
    """
    own = of_function(function).attempt if _of_tasks else ()
    return in_order(layer for layer in (*layers.attempt, *own) if not layer.queues or queue in layer.queues)


def of_function(function: Any) -> Layers:
    """Return the middleware that a function's task declares."""
    task = task_of(function)
    plain = function if task is None else task.__naq_function__
    try:
        declared = _of_tasks.get(plain)
    except TypeError:  # it cannot be hashed
        return NO_LAYERS
    return NO_LAYERS if declared is None else declared.layers()


async def around(layers: Sequence[Layer], subject: Any, call: Callable[[], Awaitable[object]]) -> bool:
    """Call within layers, the first outermost.

    Args:
        subject: What each layer is given.

    Returns:
        Whether it was called, and no error of it was caught.

    Raises:
        BaseException: Of `call`, where no layer has caught it; or of a layer, with its name.
    """
    is_done, error = await _around(layers, subject, call)
    if error is not None:
        raise error
    return is_done


def around_plain(layers: Sequence[Layer], subject: Any, call: Callable[[], None]) -> None:
    """As `around`, for plain layers and without an event loop: with these nothing suspends, so one step is the whole way."""
    error: BaseException | None = None
    try:
        _around(layers, subject, call).send(None)
    except StopIteration as end:
        _, error = end.value
    if error is not None:
        raise error


async def _around(
    layers: Sequence[Layer], subject: Any, call: Callable[[], Awaitable[object] | None]
) -> tuple[bool, BaseException | None]:
    """Return whether it was called without an error, and the error that goes on: a coroutine must not raise a `StopIteration`."""
    begun: list[tuple[Layer, Any]] = []
    error: BaseException | None = None
    is_done = False
    for layer in layers:
        steps = layer.begin(subject)
        try:
            goes_on = await _enter_async(steps) if layer.is_async else _enter(steps)
        except BaseException as raised:  # noqa: BLE001 - handed to the layers outside
            error = _named(raised, layer)
            break
        if not goes_on:
            break
        begun.append((layer, steps))
    else:
        try:
            waiting = call()
            if waiting is not None:
                await waiting
            is_done = True
        except GeneratorExit:
            raise  # the event loop closes this coroutine: nothing can be awaited any more
        except BaseException as raised:  # noqa: BLE001 - handed to the layers
            error = raised
    while begun:
        layer, steps = begun.pop()
        error = await _leave_async(layer, steps, error) if layer.is_async else _leave(layer, steps, error)
    return is_done, error


def _enter(steps: Any) -> bool:
    """Run a layer up to its `yield`; return whether it has one to come to.

    Not a coroutine for both kinds: that would more than double the time that plain layers take.
    """
    try:
        next(steps)
    except StopIteration:
        return False
    return True


async def _enter_async(steps: Any) -> bool:
    try:
        await anext(steps)
    except StopAsyncIteration:
        return False
    return True


def _leave(layer: Layer, steps: Any, error: BaseException | None) -> BaseException | None:
    """Run a layer to its end, and return the error that goes on outwards."""
    frames = None if error is None else error.__traceback__
    try:
        if error is None:
            next(steps)
        else:
            steps.throw(error)
    except StopIteration:
        return None
    except BaseException as raised:  # noqa: BLE001 - handed outwards
        return _passed(raised, error, frames) or _named(raised, layer)
    steps.close()
    return _named(RuntimeError("it yielded twice"), layer)


async def _leave_async(layer: Layer, steps: Any, error: BaseException | None) -> BaseException | None:
    frames = None if error is None else error.__traceback__
    try:
        if error is None:
            await anext(steps)
        else:
            await steps.athrow(error)
    except StopAsyncIteration:
        return None
    except BaseException as raised:  # noqa: BLE001 - handed outwards
        return _passed(raised, error, frames) or _named(raised, layer)
    await steps.aclose()
    return _named(RuntimeError("it yielded twice"), layer)


def _passed(raised: BaseException, error: BaseException | None, frames: Any) -> BaseException | None:
    """Return the error if it has only passed through, with the traceback that it had; generators replace a StopIteration."""
    is_same = raised is error or (isinstance(error, StopIteration | StopAsyncIteration) and raised.__cause__ is error)
    return error.with_traceback(frames) if error is not None and is_same else None


def _named(error: BaseException, layer: Layer) -> BaseException:
    """Let an error of a layer say whose it is."""
    if layer.name:
        name_origin(error, f"middleware {layer.name}")
    return error


_ORIGINS = ("raised in the middleware ", "raised in the resource ")


def name_origin(error: BaseException, origin: str) -> None:
    """Let an error say where it was raised; instructions (`Retry`) and a cancellation are no errors.

    Args:
        error: What was raised.
        origin: `middleware module:name` or `resource module:name`.
    """
    note = f"raised in the {origin}"
    if isinstance(error, Exception) and not isinstance(error, JobControl) and note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def origin_of(error: BaseException) -> str:
    """Return which middleware or resource has raised an error, as a clause; empty for an error of something else."""
    for note in reversed(getattr(error, "__notes__", ())):
        if isinstance(note, str) and note.startswith(_ORIGINS):
            return note
    return ""
