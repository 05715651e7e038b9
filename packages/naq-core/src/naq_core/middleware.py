"""What a middleware is given: the jobs that are about to be enqueued, and the attempt that is about to be made.

A middleware is an object with a method `enqueue(jobs)`, a method `attempt(attempt)`, or both. Each is a generator, plain or
async, that yields once: there the jobs are stored, or the function runs. `docs/middleware.md` explains it with examples.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from naq_core.context import JobContext, running_job
from naq_core.delivery_options import DeliveryOptions
from naq_core.envelope import JobOptions
from naq_core.errors import InvalidOptionError
from naq_core.option_set import OptionSet
from naq_core.options import REPEATED_OPTIONS, changed_options, check_names
from naq_core.queue_policy import made_key
from naq_core.resources import GivenCall

__all__ = ["Attempt", "Enqueue", "InheritHeaders", "Kind", "Timing"]

Kind: TypeAlias = Literal["enqueue", "firing", "requeue", "callback"]


class Attempt(GivenCall):
    """One attempt of a job, which is about to be made; `current_job()` is set already."""

    __slots__ = ("job", "result")

    def __init__(self, job: JobContext, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__(function, args, kwargs)
        self.job = job
        """The job, as `current_job()` returns it: its id, queue, attempt, headers, tags."""
        self.result: Any = None
        """What the function returned, after the `yield`; may be assigned. Without a `yield` it is the result of the attempt."""

    def __repr__(self) -> str:
        return f"<Attempt {self.job.attempt} of job {self.job.job_id}, {self.job.function}>"


class Timing(NamedTuple):
    """When a schedule fires: by a cron expression, or after each interval."""

    cron: str | None
    interval: float | None
    """Seconds."""
    timezone: str


class Enqueue:
    """One job that is about to be stored."""

    __slots__ = (
        "_changes",
        "_options",
        "args",
        "function",
        "headers",
        "job_id",
        "kind",
        "kwargs",
        "queue",
        "schedule",
        "tags",
        "timing",
        "workflow",
    )

    def __init__(  # noqa: PLR0913 - the facts of a job
        self,
        kind: Kind,
        job_id: str,
        queue: str,
        function: str,
        options: JobOptions,
        *,
        workflow: str = "",
        schedule: str = "",
        timing: Timing | None = None,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        """`enqueue`, `firing` (of a schedule), `requeue` (of a dead or cancelled job) or `callback` (of a job that has ended)."""
        self.job_id = job_id
        self.queue = queue
        self.function = function
        """Its name, as `module:qualname`."""
        self.workflow = workflow
        self.schedule = schedule
        self.timing = timing
        """When its schedule fires; of a firing only."""
        self.headers = dict(options.headers)
        """Texts that travel with the job; may be changed and assigned."""
        self.tags = options.tags
        """Words; may be assigned."""
        self.args = args
        """The positional arguments; may be assigned. None of a firing, a requeue or a callback, whose call is stored."""
        self.kwargs = kwargs
        """The keyword arguments, likewise."""
        self._changes: dict[str, Any] = {}
        self._options = options

    def __repr__(self) -> str:
        return f"<Enqueue of job {self.job_id}, {self.function} on {self.queue!r}>"

    @property
    def options(self) -> JobOptions:
        """How the job will be run, with the changes made so far."""
        wanted = {**self._changes, "headers": self.headers, "tags": self.tags}
        if wanted == {"headers": self._options.headers, "tags": self._options.tags}:
            return self._options
        return changed_options(self._options, OptionSet(wanted).job, wanted)

    @property
    def changed(self) -> Collection[str]:
        """The names of the options that `set` has changed (for enqueues)."""
        return self._changes.keys()

    @property
    def expiry(self) -> DeliveryOptions | None:
        """The latest start, if `set` has changed it (for enqueues)."""
        return OptionSet({"expires": self._changes["expires"]}).delivery if "expires" in self._changes else None

    def set(self, **options: Any) -> None:
        """Change options: those that the jobs of a schedule may have, such as `max_retries`, `timeout`, `priority` or `expires`.

        Raises:
            InvalidOptionError: Another option, or a wrong value; of a requeue also `priority`, `expires` and `key`, as the job
                keeps its place in its queue.
        """
        check_names(options, REPEATED_OPTIONS, "a middleware's set()")
        for name in ("priority", "expires", "key") if self.kind == "requeue" else ():
            if name in options:
                raise InvalidOptionError(name, "cannot be changed for a job that is requeued")
        OptionSet(options)
        if callable(options.get("key")):
            options["key"] = made_key(options["key"], self.args or (), self.kwargs or {})
        self.headers = dict(options.pop("headers", self.headers))
        self.tags = options.pop("tags", self.tags)
        self._changes.update(options)


class InheritHeaders:
    """Middleware that hands headers of the running job on to the jobs that it enqueues.

    Args:
        names: Of the headers to hand on; by default all. A header that a job is given itself stays.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        """Add the headers."""
        parent = running_job()
        if parent is not None:
            given = {name: value for name, value in parent.headers.items() if not self.names or name in self.names}
            for job in jobs:
                if job.kind == "enqueue":
                    job.headers = {**given, **job.headers}
        yield
