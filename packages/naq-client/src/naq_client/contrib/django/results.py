"""Results of tasks, made of what NAQ knows of their jobs."""

import builtins
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from naq_client.contrib.django._interface import TaskError, TaskResult, TaskResultDoesNotExist, TaskResultStatus
from naq_core.decoding import Decoder
from naq_core.errors import UnreadableError
from naq_core.option_kinds import LONGEST_HEADER
from naq_core.record import AttemptError, JobState
from naq_core.views import JobView

HEADER = "django-task"
"""The header of a job that holds what Django wants to know of its task, in whatever state the job is."""
OTHER_ERROR = "naq_core.errors.JobFailedError"
CANCELLED, EXPIRED = "naq_core.errors.JobCancelledError", "naq_core.errors.JobExpiredError"
STATUS = {
    JobState.RUNNING: TaskResultStatus.RUNNING,
    JobState.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    JobState.DEAD: TaskResultStatus.FAILED,
    JobState.CANCELLED: TaskResultStatus.FAILED,
    JobState.EXPIRED: TaskResultStatus.FAILED,
}
"""All others are ready, or become so."""


class Described(msgspec.Struct, omit_defaults=True):
    """What is in the header."""

    backend: str
    priority: int = 0
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    is_cut: bool = False
    """The arguments are too long to be here."""


_decoder = Decoder("the description of a Django task", Described)


def described(backend: str, priority: int, args: list[Any], kwargs: dict[str, Any]) -> str:
    """Return the header of a task's job. Arguments that do not fit are left out: they are known while the job is stored."""
    found = Described(backend, priority, args, kwargs)
    text = msgspec.json.encode(found).decode()
    return text if len(text) <= LONGEST_HEADER else msgspec.json.encode(Described(backend, priority, is_cut=True)).decode()


def read_header(job_id: str, headers: Mapping[str, str]) -> Described:
    """Return what the header of a job says.

    Raises:
        TaskResultDoesNotExist: It is not the job of a Django task.
    """
    try:
        return _decoder.decode(headers[HEADER].encode())
    except (KeyError, UnreadableError):
        raise TaskResultDoesNotExist(job_id) from None


def task_of(function: str, queue: str, headers: Mapping[str, str], job_id: str = "") -> Any:
    """Return the task of a job: that of its module, with the queue and the priority of this job.

    Args:
        function: `module:name`.

    Raises:
        TaskResultDoesNotExist: There is no such task here.
    """
    about = read_header(job_id, headers)
    try:
        found = import_string(function.replace(":", "."))
        return found.using(queue_name=queue, priority=about.priority, backend=about.backend)
    except (ImportError, AttributeError) as error:
        raise TaskResultDoesNotExist(f"{job_id}: there is no task {function} here") from error


def moment(at: datetime | None) -> Any:
    """Return a time as the project has them: aware, or naive with `USE_TZ = False`. None is now."""
    found = at or datetime.now(UTC)
    return found if settings.USE_TZ else timezone.make_naive(found)


def failure(error: BaseException) -> Any:
    """Return what Django tells of an error."""
    kind = type(error)
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback="".join(traceback.format_exception(error))
    )


def _failure_of(error: AttemptError) -> Any:
    """Return what Django tells of a recorded error; its class can be imported, also where NAQ has no class for it."""
    path = error.type if "." in error.type else f"builtins.{error.type}" if hasattr(builtins, error.type) else OTHER_ERROR
    return TaskError(exception_class_path=path, traceback=error.traceback or f"{error.type}: {error.message}\n")


def result_of(view: JobView, arguments: tuple[Any, Any] | None, value: Any) -> Any:
    """Return the result of a task.

    Args:
        view: What is known of its job.
        arguments: Positional and keyword arguments, where the header does not have them.
        value: What it returned, if it has succeeded.

    Raises:
        TaskResultDoesNotExist: It is not the job of a Django task of this project.
    """
    about = read_header(view.job_id, view.headers)
    args, kwargs = arguments or (about.args, about.kwargs)
    errors = [_failure_of(each) for each in view.errors]
    if view.state in {JobState.CANCELLED, JobState.EXPIRED}:
        path = CANCELLED if view.state is JobState.CANCELLED else EXPIRED
        errors.append(TaskError(exception_class_path=path, traceback=f"{view.reason or view.state}\n"))
    workers = [each.worker for each in view.errors if each.attempt < view.attempt]
    workers += [view.worker] if view.attempt else []
    started = view.started_at and moment(view.started_at)
    result = TaskResult(
        task=task_of(view.function, view.queue, view.headers, view.job_id),
        id=view.job_id,
        status=STATUS.get(view.state, TaskResultStatus.READY),
        enqueued_at=view.enqueued_at and moment(view.enqueued_at),
        started_at=started,
        last_attempted_at=started,
        finished_at=view.ended_at and moment(view.ended_at),
        args=list(args),
        kwargs=dict(kwargs),
        backend=about.backend,
        errors=errors,
        worker_ids=[""] * (view.attempt - len(workers)) + workers[-view.attempt :] if view.attempt else [],
    )
    object.__setattr__(result, "_return_value", value)
    return result
