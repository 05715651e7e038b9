"""Options as they were given, and the one rule that says whose options a job gets."""

import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from naq_core.dependency import DependsOn
from naq_core.envelope import NO_OPTIONS
from naq_core.names import check_job_id, check_queue
from naq_core.options import JOB_OPTIONS, RUN_OPTIONS, make_options
from naq_core.serialization import task_of
from naq_core.terms import NO_TERMS, TERM_NAMES, make_terms
from naq_core.values import flag, seconds

_REPLACES = {
    "at": {"delay", "debounce"},
    "delay": {"at", "debounce"},
    "debounce": {"at", "delay", "on_clash"},
    "on_clash": {"debounce"},
    "unique": {"job_id"},
    "job_id": {"unique", "on_clash", "debounce"},
}
"""Options that exclude each other: the one that is given replaces those that were declared."""


class OptionSet:
    """Checked options, with what was given kept apart from the defaults.

    Args:
        given: Options by their names, of `naq_core.options.CallOptions`.

    Raises:
        InvalidOptionError, InvalidNameError: A value is wrong, or two contradict each other; names it.
    """

    __slots__ = ("_merged", "budget", "given", "job", "job_id", "queue", "terms", "ties")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        queue, job_id, budget = given.get("queue"), given.get("job_id"), given.get("publish_budget")
        self.queue: str | None = None if queue is None else check_queue(queue)
        self.job_id: str | None = None if job_id is None else check_job_id(job_id)
        self.budget: float | None = None if budget is None else seconds(budget, "publish_budget")
        """Seconds an enqueue may be repeated; None: as the settings say."""
        job = {name: given[name] for name in JOB_OPTIONS.intersection(given)}
        self.job = make_options(**job) if job else NO_OPTIONS
        """How the job is run."""
        terms = {name: given[name] for name in TERM_NAMES if name in given}
        self.terms = make_terms(**terms, job_id=self.job_id) if terms else NO_TERMS
        """When it may start, until when, and which others it excludes."""
        self.ties: tuple[DependsOn | None, bool, bool] = (
            given.get("depends_on"),
            flag(given.get("allow_failure", False), "allow_failure"),
            flag(given.get("parent_results", False), "parent_results"),
        )
        self._merged: tuple[OptionSet, OptionSet] | None = None

    @property
    def has_time(self) -> bool:
        """Whether it says when the job starts."""
        return bool(self.terms.at or self.terms.delay or self.terms.debounce)

    @property
    def run_options(self) -> tuple[str, ...]:
        """The names of the run options that were given."""
        return tuple(sorted(RUN_OPTIONS.intersection(self.given)))

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
                replaced |= {"on_clash", "debounce"}
            kept = {name: value for name, value in declared.given.items() if name not in replaced}
            merged = self._merged = declared, OptionSet({**kept, **self.given})
        return merged[1]


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

    Of a function that is only named nothing is known here: the worker adds the task's run options (`with_declared_options`).
    """
    return given if isinstance(function, str) else given.over(declared_options(function))
