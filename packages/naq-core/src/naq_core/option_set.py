"""Options as they were given, and the one rule that says whose options a job gets."""

import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from naq_core.delivery_options import NO_DELIVERY_OPTIONS, Clash, DeliveryOptions
from naq_core.dependency import DependsOn
from naq_core.envelope import NO_OPTIONS, JobOptions
from naq_core.errors import InvalidOptionError
from naq_core.functions import task_of
from naq_core.option_kinds import LatestStart
from naq_core.options import HOLDERS, OPTIONS, WORKER_OPTIONS
from naq_core.retry import RetryPolicy

_REPLACES = {
    "at": {"delay", "debounce"},
    "delay": {"at", "debounce"},
    "debounce": {"at", "delay", "on_clash", "unique_for", "throttle"},
    "on_clash": {"debounce"},
    "unique": {"job_id", "unique_by"},
    "unique_by": {"job_id", "unique"},
    "unique_for": {"debounce", "throttle"},
    "throttle": {"job_id", "debounce", "unique_for"},
    "job_id": {"unique", "unique_by", "unique_for", "throttle", "on_clash", "debounce"},
}
"""Options that exclude each other: the one that is given replaces those that were declared."""


class OptionSet:
    """Checked options, with what was given kept apart from the defaults.

    Args:
        given: Options by their names, of `naq_core.options.CallOptions`.

    Raises:
        InvalidOptionError, InvalidNameError: A value is wrong, or two contradict each other; names it.
    """

    __slots__ = ("_merged", "budget", "delivery", "given", "job", "job_id", "queue", "wiring")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        parts: tuple[dict[str, Any], ...] = ({}, {}, {}, {})
        for name, value in given.items():
            option, holder = _PLACES[name]
            if value is not None or not option.is_nullable:
                parts[holder][option.field] = option.kind.check(value, name)
        policy, job, delivery, own = parts
        self.queue: str | None = own.get("queue")
        self.job_id: str | None = own.get("job_id")
        self.budget: float | None = own.get("budget")
        """Seconds an enqueue may be repeated; None: as the settings say."""
        if policy:
            job["retry"] = RetryPolicy(**policy)
        options = JobOptions(**job) if job else NO_OPTIONS
        if options.fast and options.has_callbacks:
            name = next(name for name in ("on_success", "on_failure", "on_dead") if getattr(options, name))
            raise InvalidOptionError(name, "cannot be combined with fast=True, which keeps no record of the job's end")
        if options.key and options.fast:
            raise InvalidOptionError("key", "cannot be combined with fast=True, which stores no record of the job's end")
        self.job = NO_OPTIONS if options == NO_OPTIONS else options  # the default is left out on the wire
        """How the job is run."""
        self.delivery = _together(delivery, self.job_id) if delivery else NO_DELIVERY_OPTIONS
        """When it may start, until when, and which others it excludes."""
        self.wiring: tuple[DependsOn | None, bool, bool, Callable[..., Any] | str | None] = (
            own.get("depends_on"),
            own.get("allow_failure", False),
            own.get("parent_results", False),
            own.get("wait_for"),
        )
        self._merged: tuple[OptionSet, OptionSet] | None = None

    @property
    def has_time(self) -> bool:
        """Whether it says when the job starts."""
        return bool(self.delivery.at or self.delivery.delay or self.delivery.debounce)

    @property
    def worker_options(self) -> tuple[str, ...]:
        """The names of those options that were given which a worker would else take from the task."""
        return tuple(sorted(WORKER_OPTIONS.intersection(self.given)))

    def over(self, declared: "OptionSet | None") -> "OptionSet":
        """Return these options, with the declared ones for what they leave open."""
        if declared is None or declared is NO_OPTION_SET:
            return self
        if self is NO_OPTION_SET:
            return declared
        merged = self._merged
        if merged is None or merged[0] is not declared:
            replaced = {name for given in self.given for name in _REPLACES.get(given, ())}
            if "unique" in self.given and self.given["unique"] is None:
                replaced |= {"unique_by", "unique_for", "throttle", "on_clash", "debounce"}
            kept = {name: value for name, value in declared.given.items() if name not in replaced}
            merged = self._merged = declared, OptionSet({**kept, **self.given})
        return merged[1]


def _together(given: dict[str, Any], job_id: str | None) -> DeliveryOptions:
    """Put checked delivery options together; refuse those that contradict each other."""
    if "at" in given and "delay" in given:
        raise InvalidOptionError("at", "cannot be combined with delay")
    if "throttle" in given:
        given = _throttled(given)
    is_refused = given.get("on_clash", Clash.REFUSE) is Clash.REFUSE
    if "debounce" in given and ("at" in given or "delay" in given or not is_refused):
        raise InvalidOptionError("debounce", "sets the due time and what to replace: remove at, delay and on_clash")
    if "debounce" in given and "unique_for" in given:
        raise InvalidOptionError(
            "debounce", "cannot be combined with unique_for and throttle, which keep the first job, not the last"
        )
    _check_keys(given, job_id, is_refused=is_refused)
    expires = given.pop("expires", None)
    if expires is not None:
        given["expires_at" if isinstance(expires, LatestStart) else "expires_in"] = float(expires)
    found = DeliveryOptions(**given)
    found.check()
    return NO_DELIVERY_OPTIONS if found == NO_DELIVERY_OPTIONS else found


_KEYS = {"unique", "unique_by"}


def _throttled(given: dict[str, Any]) -> dict[str, Any]:
    """Return a throttle as what it is: a window of the key, or of the function, in which the first job is returned."""
    if "unique_for" in given:
        raise InvalidOptionError("throttle", "cannot be combined with unique_for: it is the same with on_clash='return'")
    key = {} if _KEYS & given.keys() else {"unique_by": ()}
    rest = {name: value for name, value in given.items() if name != "throttle"}
    return {"on_clash": Clash.RETURN, **key, **rest, "unique_for": given["throttle"]}


def _check_keys(given: dict[str, Any], job_id: str | None, *, is_refused: bool) -> None:
    """Refuse two keys, what needs a key without one, and a key beside an id."""
    keys = _KEYS & given.keys()
    if len(keys) == 2:
        raise InvalidOptionError("unique_by", "cannot be combined with unique, which is the whole key")
    if not keys and not ({"debounce", "unique_for"}.isdisjoint(given) and is_refused):
        name = next((each for each in ("debounce", "unique_for") if each in given), "on_clash")
        raise InvalidOptionError(name, "requires a key: add unique=… or unique_by=…")
    if keys and job_id is not None:
        raise InvalidOptionError("unique", "cannot be combined with job_id, because the key determines the id")


def _place(field: str) -> int:
    return next((at for at, fields in enumerate(HOLDERS) if field in fields), len(HOLDERS))


_PLACES = {name: (option, _place(option.field)) for name, option in OPTIONS.items()}
"""Each option, and which part of a set holds it: the retry policy, the job options, the delivery options, or the set itself."""
NO_OPTION_SET = OptionSet({})


def declared_options(function: Callable[..., Any]) -> OptionSet | None:
    """Return what a task declares for its jobs; also of a decorated task (`functools.wraps`), and of a partial of one."""
    if type(function) is FunctionType and not function.__dict__:
        return None  # nearly always: what declares options, or wraps what does, has attributes
    found = function
    while isinstance(found, functools.partial):
        found = found.func
    task = task_of(found)
    declared = None if task is None else getattr(task, "__naq_options__", None)
    return declared if isinstance(declared, OptionSet) else None


def options_for(function: Callable[..., Any] | str, given: OptionSet = NO_OPTION_SET) -> OptionSet:
    """Return the options of a job: those given where it is enqueued, then those that its task declares.

    Of a function that is only named nothing is known here: the worker takes `WORKER_OPTIONS` from the task.
    """
    return given if isinstance(function, str) else given.over(declared_options(function))
