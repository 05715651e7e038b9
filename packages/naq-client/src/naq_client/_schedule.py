"""Recurring schedules, as a program makes and holds them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, Self, TypeAlias

from naq_core import schedules
from naq_core.decorated import shown_signature
from naq_core.errors import InvalidScheduleError
from naq_core.functions import unwrap
from naq_core.job import Job
from naq_core.options import SCHEDULE_KEYWORDS, SCHEDULE_OPTIONS
from naq_core.resources import without_resources
from naq_core.storage.connection import Connection
from naq_core.views import Firing, ScheduleView

KEYWORDS = {*SCHEDULE_OPTIONS, "paused"}
"""The keywords of `Queue.schedule`."""


class Schedule:
    """A recurring schedule: `view` is what was last seen of it, each method brings that up to date."""

    def __init__(self, connection: Connection, view: ScheduleView) -> None:
        self._connection = connection
        self.view = view

    def __repr__(self) -> str:
        when = self.view.cron or f"every {self.view.interval:g} s"
        return f"<Schedule {self.schedule_id} {self.view.function} {when}{' (paused)' if self.view.paused else ''}>"

    @classmethod
    async def fetch(cls, connection: Connection, schedule_id: str) -> Self:
        """Look a schedule up.

        Raises:
            ScheduleNotFoundError: There is no schedule with this id.
        """
        return cls(connection, await schedules.get_schedule(connection, schedule_id))

    @property
    def schedule_id(self) -> str:
        """The id."""
        return self.view.schedule_id

    async def refresh(self) -> ScheduleView:
        """Look at it again."""
        self.view = await schedules.get_schedule(await self._connection.here(), self.schedule_id)
        return self.view

    async def pause(self) -> None:
        """Stop it from firing until `resume()`."""
        self.view = await schedules.pause_schedule(await self._connection.here(), self.schedule_id)

    async def resume(self) -> None:
        """Let it fire again from now on; what would have fired in between is not made up for."""
        self.view = await schedules.resume_schedule(await self._connection.here(), self.schedule_id)

    async def trigger(self) -> Job[Any]:
        """Enqueue its job now, besides its times and whatever the overlap policy says, and return the job."""
        job_id = await schedules.trigger_schedule(await self._connection.here(), self.schedule_id)
        job: Job[Any] = Job(self.view.function, job_id=job_id, queue=self.view.queue)
        job.bind(await self._connection.here())
        return job

    async def update(self, **changes: Any) -> None:
        """Change its times or policies: `update(cron="0 8 * * *", max_runs=None)`; the rest stays.

        Raises:
            InvalidScheduleError: A value is wrong, or no option has that name; nothing was changed.
        """
        self.view = await schedules.update_schedule(await self._connection.here(), self.schedule_id, **changes)

    async def delete(self) -> None:
        """Remove it; the jobs it has made stay."""
        await schedules.delete_schedule(await self._connection.here(), self.schedule_id)

    def next_runs(self, count: int = 5) -> list[datetime]:
        """Return the next times it fires, in UTC, as of what was last seen of it."""
        return schedules.next_runs(self.view, count)

    async def history(self) -> list[Firing]:
        """Return what it did lately, the newest first, with the state of each job whose record is kept."""
        return await schedules.schedule_history(await self._connection.here(), self.schedule_id)


class _Queue(Protocol):
    async def connection(self) -> Connection: ...


Prepared: TypeAlias = tuple[schedules.ScheduleSpec, bool | None]
"""A checked schedule with its encoded call, and whether to pause it."""


def prepare(
    make_job: Callable[..., Job[Any]],
    function: Callable[..., Any] | Job[Any] | str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Prepared:
    """Prepare the schedule of a call.

    Raises:
        InvalidScheduleError: A value is wrong, or a keyword is ambiguous.
        InvalidCallError: The arguments do not fit the function.
    """
    options = {name: value for name, value in kwargs.items() if name in KEYWORDS}
    rest = {name: value for name, value in kwargs.items() if name not in KEYWORDS}
    if isinstance(function, Job):
        if args or rest:
            raise InvalidScheduleError("arguments", (*args, *rest), "belong in call(), which creates the job")
        job = function
    else:
        _check_not_the_functions_own(function, options)
        job = make_job(function, *args, **rest)
        if options.keys().isdisjoint({"cron", "interval"}):
            job.check()  # a misspelt `cron` is an argument
    paused = options.pop("paused", None)
    return schedules.make_spec(job, **options), paused


async def put(queue: _Queue, prepared: Prepared) -> Schedule:
    """Store a schedule."""
    connection = await queue.connection()
    spec, paused = prepared
    return Schedule(connection, await schedules.put_schedule(connection, spec, paused=paused))


def _check_not_the_functions_own(function: Callable[..., Any] | str, options: Mapping[str, Any]) -> None:
    if isinstance(function, str):
        return
    try:
        plain = unwrap(function)
        parameters = without_resources(plain, shown_signature(plain)).parameters
    except (TypeError, ValueError):
        return
    for name in sorted(parameters.keys() & options.keys()):
        raise InvalidScheduleError(
            name, options[name], f"may be an option or an argument of {function!r}: write queue.schedule(queue.call(…), {name}=…)"
        )


def take_schedule(options: dict[str, Any]) -> dict[str, Any] | None:
    """Take the options of a schedule out of a task's options, if it has a schedule."""
    if "cron" not in options and "interval" not in options:
        return None
    return {keyword: options.pop(name) for name, keyword in SCHEDULE_KEYWORDS.items() if name in options}


def scheduled(job: Job[Any], **options: Any) -> schedules.ScheduleSpec:
    """Declare the schedule of a job made by `call()`, for a list that `Queue.reconcile` brings about.

    Args:
        options: Those of `Queue.schedule`; `schedule_id` is needed, so that a change is not taken for another schedule.

    Raises:
        InvalidScheduleError: A value is wrong; names it.
    """
    if options.get("schedule_id") is None:
        raise InvalidScheduleError("schedule_id", None, "is required for a declared schedule")
    return schedules.make_spec(job, **options)
