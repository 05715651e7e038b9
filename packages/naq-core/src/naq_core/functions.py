"""Which function a name means, and by which name another process finds a function."""

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, cast
from weakref import WeakKeyDictionary

from naq_core.errors import EncodeError, UnknownTaskError

WRAPPERS = 32
"""Decorators that are looked through above a task."""
LONGEST_NAME = 512

_names: "WeakKeyDictionary[Callable[..., Any], str | None]" = WeakKeyDictionary()
_registered: dict[str, Callable[..., Any]] = {}


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


def registered_object(name: str) -> Callable[..., Any] | None:
    """Return a registered task's function, or what its module has made of the task by decorators above it."""
    function = _registered.get(name)
    module, _, qualname = name.partition(":")
    if function is None or "." in qualname:
        return function
    found = getattr(sys.modules.get(module), "__dict__", {}).get(qualname)
    return found if callable(found) and _is_found_by(function, found) else function
