"""The base of all errors, and those of wrong arguments and settings."""

LONGEST_SHOWN = 200


def shown(value: object) -> str:
    """Return a value as a message shows it, at most 200 characters; a number of 5,000 digits cannot even be printed."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever a `__repr__` raises
        return f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


class NaqError(Exception):
    """The base of every error that NAQ raises on purpose. All can be copied and pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by value: an exception is made again with its message alone, which is not what these constructors take."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[NaqError], args: tuple[object, ...], attributes: dict[str, object]) -> NaqError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class EventLoopError(NaqError, RuntimeError):
    """A connection was used on another event loop than the one it was opened on; nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "this connection belongs to another event loop: open one on this loop, or use a Queue, which opens one for each loop"
        )


class ConfigurationError(NaqError, ValueError):
    """A setting has a value that NAQ cannot work with."""

    def __init__(self, setting: str, problem: str, source: str | None = None) -> None:
        self.setting = setting
        self.problem = problem
        self.source = source
        origin = f" (from {source})" if source else ""
        super().__init__(f"{setting}{origin}: {problem}")


class InvalidOptionError(ConfigurationError, TypeError):
    """An option or argument that does not exist, has a wrong value, or contradicts another one; nothing was done.

    It is a `ConfigurationError` because that is what these mistakes raised before; a setting raises `ConfigurationError` alone.
    """


class InvalidCallError(NaqError, TypeError):
    """The arguments of a job do not fit the signature of its function; nothing was enqueued."""

    def __init__(self, call: str, problem: str) -> None:
        self.call = call
        self.problem = problem
        super().__init__(f"the arguments do not fit {call}: {problem}")


class HookError(NaqError):
    """A hook of the program has failed at the start or at the end of a process; the error that it raised is the cause."""

    def __init__(self, hook: str, when: str, error: BaseException) -> None:
        self.hook = hook
        super().__init__(f"hook {hook} failed at the {when}: {type(error).__name__}: {error}")


class ResourceError(NaqError):
    """A resource cannot be opened as it was declared, or is used where none is opened."""

    def __init__(self, resource: str, problem: str) -> None:
        self.resource = resource
        super().__init__(f"resource {resource}: {problem}")


class InvalidNameError(NaqError, ValueError):
    """A name that cannot be used as a token of a NATS subject."""

    def __init__(self, kind: str, value: object, rule: str) -> None:
        self.kind = kind
        self.value = value
        super().__init__(f"{shown(value)} is not a valid {kind}: {rule}")
