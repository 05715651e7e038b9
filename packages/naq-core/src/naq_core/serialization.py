"""Functions, arguments and results as bytes: cloudpickle by default, JSON where nothing may be unpickled.

Which formats a worker *accepts* is decided by its own `job_serializer`, never by the message (see `docs/serialization.md`).
"""

import functools
import importlib
import math
import pickle
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, cast
from weakref import WeakKeyDictionary

import msgspec

from naq_core import by_value
from naq_core.errors import DecodeError, EncodeError, UnknownTaskError
from naq_core.previews import is_plain
from naq_core.source_text import SourceText, source_of
from naq_core.typed_json import convert_arguments, encode_json

PICKLE = "pickle"
JSON = "json"
WRAPPERS = 32
"""Decorators that are looked through above a task."""
NO_ARGUMENTS = pickle.dumps(((), {}), protocol=5)

LONGEST_NAME = 512

_names: "WeakKeyDictionary[Callable[..., Any], str | None]" = WeakKeyDictionary()
_registered: dict[str, Callable[..., Any]] = {}


class Call(msgspec.Struct, frozen=True):
    """A function call as bytes."""

    function: str
    """`module:qualname`; only a label when `by_value`."""
    body: bytes
    content_type: str
    by_value: bool
    """The function itself is inside `body` (lambdas, closures, methods, partials, functions of `__main__`)."""
    source: tuple[SourceText, ...] = ()
    """Lines of `__main__` for tracebacks."""


def unwrap(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the plain function behind a task object, or what was given."""
    return getattr(function, "__naq_function__", function)


def task_of(function: Any) -> Any:
    """Return the task that a function is, or that decorators above `@task` have wrapped (`functools.wraps`); None without one."""
    for _ in range(WRAPPERS):
        if function is None or getattr(function, "__naq_function__", None) is not None:
            return function
        function = getattr(function, "__wrapped__", None)
    return None


def _is_found_by(function: Callable[..., Any], found: Any) -> bool:
    """Whether an import path that leads to `found` is that of `function`: it is the function, or a decorated task of it."""
    task = task_of(found)
    return unwrap(found) is function or (task is not None and task.__naq_function__ is function)


def register(function: Callable[..., Any], name: str) -> None:
    """Let JSON jobs name this function (done by `@task`)."""
    _registered[name] = function


def function_name(function: Callable[..., Any]) -> str:
    """Return the label of a function: `module:qualname` where it has both."""
    plain = function.func if isinstance(function, functools.partial) else function
    qualname = getattr(plain, "__qualname__", None) or type(plain).__qualname__
    return f"{getattr(plain, '__module__', None) or type(plain).__module__}:{qualname}"


_IMPORTABLE = (FunctionType, BuiltinFunctionType, type)


def importable_name(function: Callable[..., Any]) -> str | None:
    """Return `module:qualname` if another process can import the function by it."""
    if not isinstance(function, _IMPORTABLE):
        return None
    try:
        return _names[function]
    except KeyError:
        pass
    name = function_name(function)
    found: str | None = None
    if not name.startswith("__main__:") and "<" not in name:
        try:
            if _is_found_by(function, import_function(name)):
                found = name
        except UnknownTaskError:
            found = None
    _names[function] = found
    return found


@functools.lru_cache(maxsize=4096)
def checked_name(name: str) -> str:
    """Return the name of a function as `module:qualname`; `module.function` is accepted too.

    Raises:
        EncodeError: It is neither, so that no worker could import it.
    """
    path = name if ":" in name else ":".join(name.rsplit(".", 1))
    module, _, qualname = path.partition(":")
    if len(path) > LONGEST_NAME or not all(part.isidentifier() for part in (*module.split("."), *qualname.split("."))):
        raise EncodeError(f"{name[:200]!r} does not name a function: write 'module:function', such as 'shop.mail:send'")
    return path


@functools.lru_cache(maxsize=4096)
def import_function(name: str) -> Callable[..., Any]:
    """Import what a module holds under `module:qualname`: a task, or any other callable.

    Raises:
        UnknownTaskError: The module cannot be imported or holds no such callable.
    """
    module_name, colon, qualname = name.partition(":")
    if not colon:
        module_name, _, qualname = name.rpartition(".")
    if not module_name or not qualname:
        raise UnknownTaskError(name, "write it as 'module:function'")
    found: Any = _import_module(module_name, name)
    try:
        for attribute in qualname.split("."):
            found = getattr(found, attribute)
    except AttributeError as error:
        raise UnknownTaskError(name, f"module {module_name!r} has no {qualname!r}") from error
    except (Exception, SystemExit) as error:
        raise UnknownTaskError(name, f"looking up {qualname!r} raised {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UnknownTaskError(name, f"is a {type(found).__name__}, not a function")
    return cast("Callable[..., Any]", found)


def registered_names() -> list[str]:
    """Return the names of the functions that were registered in this process."""
    return list(_registered)


def allowed_function(name: str, allowed: Sequence[str]) -> Callable[..., Any] | None:
    """Return the function of that name, or the task, if an allow-list permits it.

    A rule `module:function` permits exactly that function, and `module:*` what is defined in that module; both import the module
    that they name. `package.*` permits what is defined in a module below the package that this process has already imported: the
    sender of a job must not choose what is imported, as importing a module runs it. The package itself is imported, so what its
    `__init__` imports is in reach. What a module has only imported is not permitted: a task module that says `import os` does
    not offer `os.system`.

    Raises:
        UnknownTaskError: It is permitted, and cannot be found.
    """
    if name in allowed:
        return import_function(name)
    module, _, qualname = name.partition(":")
    packages = [rule[:-2] for rule in allowed if rule.endswith(".*")]
    if f"{module}:*" in allowed:
        _import_module(module, name)
    elif (package := next((each for each in packages if module.startswith(f"{each}.")), None)) is None:
        return None
    else:
        _import_module(package, name)
        if sys.modules.get(module) is None:
            raise UnknownTaskError(
                name,
                f"{module} is not imported here, and the rule '{package}.*' imports no modules below {package!r}: see --imports",
            )
    function = _defined(sys.modules[module], qualname, name)
    if not callable(function):
        return None
    home = str(getattr(unwrap(function), "__module__", None))
    return (
        cast("Callable[..., Any]", function) if home == module or any(home.startswith(f"{each}.") for each in packages) else None
    )


def _import_module(module: str, name: str) -> ModuleType:
    """Import the module of the function `name`; only for modules that a rule or this process names."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnknownTaskError(name, f"cannot import {module!r} here ({error})") from error
    except (Exception, SystemExit) as error:
        raise UnknownTaskError(name, f"importing {module!r} raised {type(error).__name__}: {error}") from error


def _defined(module: ModuleType, qualname: str, name: str) -> Any:
    """Return what a module holds under this name now, or None where it cannot be permitted.

    No `__getattr__` of a module or an instance is asked: it may import, or connect to, what the sender names.
    """
    if any(part.startswith("__") for part in qualname.split(".")):
        return None
    first, *rest = qualname.split(".")
    if first not in vars(module):
        raise UnknownTaskError(name, f"module {module.__name__!r} has no {first!r}")
    found = vars(module)[first]
    for part in rest:
        if not isinstance(found, type):
            return None
        found = getattr(found, part, None)
    return found


def rules_for_child(allowed: Sequence[str]) -> list[str]:
    """Return an allow-list for a child process: it may import what `package.*` permits and this process has imported."""
    packages = tuple(rule[:-1] for rule in allowed if rule.endswith(".*"))
    return [*allowed, *(f"{module}:*" for module in sorted(sys.modules) if packages and module.startswith(packages))]


def encode_call(
    function: Callable[..., Any] | str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    serializer: str,
    open_at: Collection[int | str] = (),
) -> Call:
    """Turn a call into bytes.

    Args:
        function: Anything callable, or `"module:qualname"` so that the producer need not have the code.
        args: Positional arguments.
        kwargs: Keyword arguments.
        serializer: `pickle` or `json`.
        open_at: Positions and keywords whose values are still to come, from other jobs.

    Raises:
        EncodeError: Something cannot be serialized, or no worker could import a function of that name; says which.
    """
    if isinstance(function, str):
        name: str | None = checked_name(function if type(function) is str else str.__str__(function))
    elif callable(function):
        function = unwrap(function)
        name = importable_name(function)
    else:
        raise EncodeError(f"{function!r} is not callable: pass a function, or its name as 'module:function'")
    if serializer == JSON:
        if name is None:
            raise EncodeError(
                f"{function_name(function)!r} cannot be named by an import path, which NAQ_JOB_SERIALIZER=json needs: "  # type: ignore[arg-type]  # a string has a name
                "move it to the top level of a module"
            )
        body = encode_json([list(args), dict(kwargs)], f"the arguments of {name}")
        if not isinstance(function, str):
            _check_fit(function, body, open_at)
        return Call(name, body, JSON, by_value=False)
    if serializer != PICKLE:
        raise EncodeError(f"unknown serializer {serializer!r}: use {PICKLE} or {JSON}")
    if name is not None:
        if not args and not kwargs:
            return Call(name, NO_ARGUMENTS, PICKLE, by_value=False)
        return Call(name, encode_pickle((tuple(args), dict(kwargs)), f"the arguments of {name}"), PICKLE, by_value=False)
    label = function_name(function)  # type: ignore[arg-type]  # as above
    body = encode_pickle((function, tuple(args), dict(kwargs)), f"{label} or its arguments")
    return Call(label, body, PICKLE, by_value=True, source=source_of(function))


def _check_fit(function: Callable[..., Any], body: bytes, open_at: Collection[int | str]) -> None:
    """Refuse JSON arguments that the worker could not turn into what the function's annotations say."""
    try:
        convert_arguments(function, *_arguments(decode_json(body, "arguments")), open_at)
    except DecodeError as error:
        raise EncodeError(f"{function_name(function)}: {error}") from None


def decode_call(
    call: Call, serializer: str, allowed: Sequence[str] = ()
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Turn bytes back into function, positional and keyword arguments.

    Args:
        serializer: What this process accepts. `json` never unpickles and runs registered or allow-listed functions only.
        allowed: The allow-list; when given, it binds in every mode.

    Raises:
        DecodeError: The bytes are not a call, or of a format that is not accepted here.
        UnknownTaskError: The function cannot be found, or may not be run here.
    """
    if serializer == JSON:
        if call.content_type != JSON or call.by_value:
            raise DecodeError(f"this worker does not accept a {call.content_type} payload: it has NAQ_JOB_SERIALIZER=json")
        function = unwrap(find_function(call.function, serializer, allowed))
        return function, *_arguments(decode_json(call.body, "arguments"))
    if call.content_type not in {PICKLE, JSON}:
        raise DecodeError(f"unknown content type {call.content_type!r}")
    if call.by_value:
        if allowed:
            raise UnknownTaskError(call.function, "is not in NAQ_ALLOWED_FUNCTIONS")
        decoded = decode_pickle(call.body, "function")
        if not (isinstance(decoded, tuple) and len(decoded) == 3 and callable(decoded[0])):
            raise DecodeError("the payload is not a function with arguments")
        return decoded[0], *_arguments(decoded[1:])
    function = unwrap(find_function(call.function, serializer, allowed))
    if call.body == NO_ARGUMENTS:
        return function, (), {}
    decode = decode_json if call.content_type == JSON else decode_pickle
    return function, *_arguments(decode(call.body, "arguments"))


def find_function(name: str, serializer: str, allowed: Sequence[str] = ()) -> Callable[..., Any]:
    """Return what a job that names its function runs: the function, or the task, or what decorators have made of it.

    Args:
        serializer, allowed: As of `decode_call`.

    Raises:
        UnknownTaskError: It cannot be found, or may not be run here.
    """
    if serializer == JSON:
        function = _registered_object(name) or allowed_function(name, allowed)
        if function is None:
            raise UnknownTaskError(name, "is neither a registered task nor in NAQ_ALLOWED_FUNCTIONS")
        return function
    if allowed and allowed_function(name, allowed) is None:
        raise UnknownTaskError(name, "is not in NAQ_ALLOWED_FUNCTIONS")
    return import_function(name)


def _registered_object(name: str) -> Callable[..., Any] | None:
    """Return a registered task's function, or what its module has made of the task by decorators above it."""
    function = _registered.get(name)
    module, _, qualname = name.partition(":")
    if function is None or "." in qualname:
        return function
    found = getattr(sys.modules.get(module), "__dict__", {}).get(qualname)
    return found if callable(found) and _is_found_by(function, found) else function


def _arguments(decoded: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(decoded, list | tuple) and len(decoded) == 2:
        args, kwargs = decoded
        if (
            isinstance(args, list | tuple)
            and isinstance(kwargs, dict)
            and (not kwargs or all(isinstance(key, str) for key in kwargs))
        ):
            return tuple(args), kwargs
    raise DecodeError("the payload is not a list of arguments and a mapping of keyword arguments")


def encode_pickle(value: Any, what: str) -> bytes:
    """Pickle a value with cloudpickle, or with the much faster plain pickle where that gives the same.

    Raises:
        EncodeError: It cannot be pickled.
    """
    try:
        if is_plain(value):
            return pickle.dumps(value, protocol=5)
        return by_value.dumps(value)
    except Exception as error:
        raise EncodeError(f"{what} cannot be pickled: {type(error).__name__}: {error}") from error


def decode_pickle(data: bytes, what: str) -> Any:
    """Unpickle.

    Raises:
        DecodeError: The bytes are no pickle, or need code that is not here.
    """
    try:
        return pickle.loads(data)  # noqa: S301 - the default serializer; SECURITY.md says what that means
    except (Exception, SystemExit) as error:
        raise DecodeError(f"the {what} cannot be unpickled here: {type(error).__name__}: {error}") from error


def decode_json(data: bytes, what: str) -> Any:
    """Decode JSON.

    Raises:
        DecodeError: It is not JSON.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(f"the {what} is not valid JSON: {error}") from error


def encode_result(value: Any, serializer: str) -> tuple[str, bytes]:
    """Return content type and bytes of a result; plain values become JSON in either mode, readable without unpickling.

    Raises:
        EncodeError: It cannot be serialized.
    """
    if serializer == JSON:
        return JSON, encode_json(value, "the result")
    if _is_json_scalar(value):
        try:
            return JSON, msgspec.json.encode(value)
        except UnicodeEncodeError:
            pass  # lone surrogates are no UTF-8: pickle keeps them
    return PICKLE, encode_pickle(value, "the result")


def _is_json_scalar(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    return value is None or kind is bool or kind is str or (kind is float and math.isfinite(value))


def decode_result(content_type: str, data: bytes, serializer: str) -> Any:
    """Return a stored result.

    Raises:
        DecodeError: Not decodable here, or a pickle where only JSON is accepted.
    """
    if content_type == JSON:
        return decode_json(data, "result")
    if content_type != PICKLE:
        raise DecodeError(f"unknown content type {content_type!r} of a result")
    if serializer == JSON:
        raise DecodeError("the result is a pickle, which NAQ_JOB_SERIALIZER=json does not read")
    return decode_pickle(data, "result")
