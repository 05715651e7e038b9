"""Queues, tasks, workers, workflows and schedules that do not exist or cannot be."""

from collections.abc import Mapping

from naq_core.errors.base import NaqError, shown
from naq_core.wording import counted


class QueueNotFoundError(NaqError, LookupError):
    """Nothing was ever enqueued to a queue of that name, and no worker has taken jobs from it."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(f"there is no queue {queue!r}: nothing was enqueued to it and no worker serves it")


class QueueInUseError(NaqError):
    """The queue has jobs or workers, so it was not deleted.

    Attributes:
        queue: Its name.
        jobs: How many jobs it has in each state that has any: queued, running, held, dead, cancelled.
        workers: How many workers take jobs from it.
    """

    def __init__(self, queue: str, jobs: Mapping[str, int], workers: int = 0) -> None:
        self.queue = queue
        self.jobs = {state: count for state, count in jobs.items() if count}
        self.workers = workers
        found = [counted(count, f"{state} job") for state, count in self.jobs.items()]
        if workers:
            found.append(counted(workers, "worker"))
        super().__init__(f"queue {queue!r} has {', '.join(found)}: only an empty queue without workers can be deleted")


class UnknownTaskError(NaqError, LookupError):
    """The function named by a job cannot be found, or may not be run here."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"function {name!r}: {reason}")


class WorkerNotFoundError(NaqError, LookupError):
    """No worker of that id answers, or it cannot do what was asked any more."""

    def __init__(self, worker_id: str, state: str | None) -> None:
        self.worker_id = worker_id
        problem = "no running worker with this id" if state is None else f"it is {state} and refuses"
        super().__init__(f"worker {worker_id}: {problem} (`naq workers` lists the running ones)")


class WorkflowError(NaqError, ValueError):
    """Jobs that cannot be put together as asked; nothing was sent."""


class WorkflowNotFoundError(WorkflowError, LookupError):
    """No workflow of that id is known (any more)."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        super().__init__(f"workflow {workflow_id}: no such workflow; it never existed or has expired")


class ScheduleError(NaqError):
    """Something about one recurring schedule."""

    def __init__(self, schedule_id: str, message: str) -> None:
        self.schedule_id = schedule_id
        super().__init__(f"schedule {schedule_id}: {message}" if schedule_id else message)


class ScheduleNotFoundError(ScheduleError, LookupError):
    """No schedule has this id."""

    def __init__(self, schedule_id: str) -> None:
        super().__init__(schedule_id, "no such schedule; `list_schedules` lists all")


class InvalidScheduleError(ScheduleError, ValueError):
    """A schedule that cannot be: names the value and what is allowed."""

    def __init__(self, what: str, value: object, problem: str) -> None:
        self.what = what
        self.value = value
        self.problem = problem
        super().__init__("", f"{what}: {problem}" if problem.startswith(shown(value)) else f"{what} {shown(value)}: {problem}")
