"""Resources: what a function asks for by a parameter, and the process that runs it opens and closes.

`docs/resources.md` explains them with examples. `opened.py` opens them.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pickle import PicklingError
from types import FunctionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args, get_origin, overload
from weakref import WeakKeyDictionary

from naq_core.decorated import annotations_of, face_of
from naq_core.errors import InvalidOptionError, ResourceError, shown
from naq_core.references import import_reference

__all__ = ["Resource", "Scope", "override", "resource"]

Scope: TypeAlias = Literal["process", "attempt"]
Kind: TypeAlias = Literal["async", "plain", "unknown"]


class Resource:
    """What a resource is opened with, and how long it is open; made by `resource`.

    Two of the same function and scope are the same resource.
    """

    __slots__ = ("__weakref__", "kind", "name", "opener", "scope")

    def __init__(self, opener: Callable[..., Any], scope: Scope = "process") -> None:
        self.opener = opener
        self.scope = scope
        plain: Any = opener.func if isinstance(opener, functools.partial) else opener
        self.name = f"{getattr(plain, '__module__', '?')}:{getattr(plain, '__qualname__', type(plain).__qualname__)}"
        """For people: `module:name` of what opens it."""
        self.kind = _kind(plain)
        """Whether what opens it is known to be async or plain."""
        _Seen.any = True

    def __repr__(self) -> str:
        return f"<resource {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and (self.opener, self.scope) == (other.opener, other.scope)

    def __hash__(self) -> int:
        return hash((self.opener, self.scope))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"resource {self.name} has no attribute {name!r}: it is opened for jobs and job.execute() only; "
            "where you call the function yourself, pass a value for it"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name, so that the jobs of a process share what was opened once."""
        found = None
        if not self.name.startswith("__main__:"):
            try:
                found = import_reference(self.name, "resource", "")
            except ValueError:
                found = None
        if found is self:
            return import_reference, (self.name, "resource", "a job")
        if found is self.opener or self.scope == "attempt":
            return Resource, (self.opener, self.scope)
        raise PicklingError(
            f"resource {self.name} is opened once in each process, so what opens it must be importable there: "
            'move it to a module as a function of its own, or declare it with scope="attempt"'
        )


def _kind(opener: Any) -> Kind:
    if isinstance(opener, type):
        return "async" if hasattr(opener, "__aenter__") else "plain"
    inner = inspect.unwrap(opener)
    if inspect.isasyncgenfunction(inner):
        return "async"
    return "plain" if inspect.isgeneratorfunction(inner) else "unknown"


class _Seen:
    """Whether this process has declared any resource: if not, nobody looks for one."""

    any = False


def has_resources() -> bool:
    """Whether any resource was declared in this process."""
    return _Seen.any


@overload
def resource(opener: Callable[..., Any], /, *, scope: Scope = "process") -> Any: ...
@overload
def resource(*, scope: Scope = "process") -> Callable[[Callable[..., Any]], Any]: ...
def resource(opener: Callable[..., Any] | None = None, /, *, scope: Scope = "process") -> Any:
    """Declare a resource: the default of a parameter, or a part of its annotation.

    `async def bill(order: int, db: Pool = resource(open_pool))`, `db: Annotated[Pool, resource(open_pool)]`, or `@resource` above
    a generator function. The result is `Any` to type checkers, so that it can be the default of any parameter.

    Args:
        opener: A generator function, plain or async, that yields the value once; or what returns a context manager, such as a
            class. Its own parameters may be resources. They are all that it is called with.
        scope: `process`: opened when the first job of a process needs it, and closed after its last one. `attempt`: opened for
            each attempt and closed after it; the error of the attempt is raised at the `yield`.

    Raises:
        InvalidOptionError: The opener cannot be called or is an async function that returns, or the scope does not exist.
    """
    if scope not in {"process", "attempt"}:
        raise InvalidOptionError("scope", f"{shown(scope)} is not one of process, attempt")
    if opener is None:
        return functools.partial(resource, scope=scope)
    if not callable(opener) or isinstance(opener, Resource):
        raise InvalidOptionError("resource", f"takes a generator function or what returns a context manager, not {shown(opener)}")
    if inspect.iscoroutinefunction(opener):
        raise InvalidOptionError("resource", f"{shown(opener)} returns its value; let it yield the value once, and close it then")
    try:
        hash(opener)
    except TypeError:
        raise InvalidOptionError("resource", f"takes what can be hashed, not {shown(opener)}: write a function") from None
    return Resource(opener, scope)


_overrides: dict[Resource, Any] = {}


@contextmanager
def override(resource: Any, value: Any) -> Iterator[None]:
    """Replace a resource by a value while the block runs: for tests. Nothing is opened or closed.

    It holds for this process, and for child processes that start meanwhile, for which resource and value are pickled.

    Raises:
        InvalidOptionError: What is to be replaced is no resource.
    """
    if not isinstance(resource, Resource):
        raise InvalidOptionError("override", f"takes what resource(…) has returned, not {shown(resource)}")
    before = dict(_overrides)
    _overrides[resource] = value
    try:
        yield
    finally:
        _overrides.clear()
        _overrides.update(before)


def overrides() -> Mapping[Resource, Any]:
    """Return the values that are given instead of resources."""
    return _overrides


def set_overrides(given: Mapping[Resource, Any]) -> None:
    """Give these values instead of resources from now on (for child processes)."""
    _overrides.update(given)


class Need(NamedTuple):
    """A parameter that is a resource."""

    parameter: str
    position: int | None
    """Among the positional parameters; None: it is given by its name."""
    resource: Resource


_needs: "WeakKeyDictionary[Callable[..., Any], tuple[Need, ...]]" = WeakKeyDictionary()


def needs_of(function: Callable[..., Any]) -> tuple[Need, ...]:
    """Return the resources that a function asks for, looked up once; of a wrapper (`functools.wraps`) what it wraps asks for.

    Raises:
        ResourceError: A parameter cannot be given a resource.
    """
    if type(function) is not FunctionType:
        return _read(function)
    try:
        return _needs[function]
    except KeyError:
        found = _needs[function] = _read(function)
        return found


def _read(function: Callable[..., Any]) -> tuple[Need, ...]:
    try:
        face = face_of(function)
    except Exception:  # noqa: BLE001 - a function in C; or it evaluates what users wrote
        return ()
    found = _needs_in(face.function, face.signature)
    return tuple(each._replace(position=None) for each in found) if face.is_wrapped else found


def _needs_in(function: Callable[..., Any], signature: inspect.Signature) -> tuple[Need, ...]:
    parameters = list(signature.parameters.values())
    annotations: dict[str, Any] | None = None
    bound = function.keywords if isinstance(function, functools.partial) else {}
    found = []
    for position, each in enumerate(parameters):
        if isinstance(each.default, Resource):
            needed: Resource | None = each.default
        elif each.annotation is each.empty or each.name in bound:
            continue
        else:
            annotations = annotations_of(function) if annotations is None else annotations
            needed = _annotated(annotations.get(each.name))
        if needed is None:
            continue
        if each.kind in {each.POSITIONAL_ONLY, each.VAR_POSITIONAL, each.VAR_KEYWORD}:
            raise ResourceError(needed.name, f"parameter {each.name!r} cannot be given by its name: write it without *, ** and /")
        found.append(Need(each.name, position if each.kind is each.POSITIONAL_OR_KEYWORD else None, needed))
    return tuple(found)


def _annotated(annotation: Any) -> Resource | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((each for each in get_args(annotation)[1:] if isinstance(each, Resource)), None)


def without_resources(function: Callable[..., Any], signature: inspect.Signature) -> inspect.Signature:
    """Return a function's signature as those see it who enqueue: without the parameters that are resources."""
    if not _Seen.any:
        return signature
    needed = {need.parameter for need in _needs_in(function, signature)}
    if not needed:
        return signature
    return signature.replace(parameters=[each for name, each in signature.parameters.items() if name not in needed])


class GivenCall:
    """A call of a function, with resources in the places of their parameters."""

    __slots__ = ("_function", "_given", "args", "kwargs")

    def __init__(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._function = function
        self._given: list[tuple[Need, Any]] = []
        self.args = tuple(args)
        """The positional arguments; may be assigned."""
        self.kwargs = dict(kwargs)
        """The keyword arguments; may be changed and assigned."""

    @property
    def function(self) -> Callable[..., Any]:
        """The function that will be called."""
        return self._function

    def give(self, need: Need, value: Any) -> None:
        """Take note of a resource (for workers)."""
        self._given.append((need, value))

    def call(self) -> Any:
        """Call the function with the arguments as they are now, and return what it returns (for workers)."""
        if not self._given:
            return self._function(*self.args, **self.kwargs)
        args, kwargs = list(self.args), dict(self.kwargs)
        for need, value in sorted(self._given, key=_place):
            if need.position is not None and need.position <= len(args):
                args.insert(need.position, value)
            else:
                kwargs.setdefault(need.parameter, value)
        return self._function(*args, **kwargs)


def _place(given: tuple[Need, Any]) -> int:
    return -1 if given[0].position is None else given[0].position
