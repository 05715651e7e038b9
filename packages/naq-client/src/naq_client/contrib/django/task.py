"""Tasks of `django.tasks` as NAQ's workers run them: found by the function's name, with signals around each attempt."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from naq_client.contrib.django._interface import (
    Task,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    send,
    send_async,
    task_finished,
    task_started,
)
from naq_client.contrib.django.results import failure, moment, task_of
from naq_core import layers
from naq_core.context import JobContext, running_job
from naq_core.contrib.django import django as connections
from naq_core.control import Snooze
from naq_core.decorated import shown_signature
from naq_core.functions import function_name, register

__all__ = ["NaqTask"]


class NaqTask(Task):  # type: ignore[misc] # Django has no types
    """A task whose backend is NAQ. Calling it calls the function."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Check it, and let workers with the JSON serializer run it."""
        super().__post_init__()
        register(self.__naq_function__, function_name(self.func))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here."""
        return self.func(*args, **kwargs)

    @property
    def __naq_function__(self) -> Callable[..., Any]:
        """What a worker calls."""
        return _run_by_worker(self.func, self.takes_context)


@cache
def _run_by_worker(function: Callable[..., Any], takes_context: bool) -> Callable[..., Any]:
    """Return the function with what Django promises around it; one object per function, as workers look for it by its name."""
    make = _async_runner if inspect.iscoroutinefunction(function) else _plain_runner
    found = make(function, takes_context)
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(found, name, getattr(function, name))
    found.__signature__ = _signature(function, takes_context)  # type: ignore[attr-defined] # inspect asks for it
    layers.declare(found, connections)
    return found


def _plain_runner(function: Callable[..., Any], takes_context: bool) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if (job := running_job()) is None:
            return function(*args, **kwargs)
        backend, result = _started(job, args, kwargs)
        send(task_started, backend, result)
        try:
            value = normalize_json(function(*_with_context(takes_context, result), *args, **kwargs))
        except Exception as error:
            if _is_last(job, error):
                send(task_finished, backend, _failed(result, error))
            raise
        send(task_finished, backend, _succeeded(result, value))
        return value

    return run


def _async_runner(function: Callable[..., Any], takes_context: bool) -> Callable[..., Any]:
    async def run(*args: Any, **kwargs: Any) -> Any:
        if (job := running_job()) is None:
            return await function(*args, **kwargs)
        backend, result = _started(job, args, kwargs)
        await send_async(task_started, backend, result)
        try:
            value = normalize_json(await function(*_with_context(takes_context, result), *args, **kwargs))
        except Exception as error:
            if _is_last(job, error):
                await send_async(task_finished, backend, _failed(result, error))
            raise
        await send_async(task_finished, backend, _succeeded(result, value))
        return value

    return run


def _signature(function: Callable[..., Any], takes_context: bool) -> inspect.Signature:
    """Return what an enqueue is checked against: without the context, and without types, to which Django converts nothing."""
    found = shown_signature(function)
    parameters = list(found.parameters.values())[1 if takes_context else 0 :]
    return inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters])


def _with_context(takes_context: bool, result: Any) -> tuple[Any, ...]:
    return (TaskContext(task_result=result),) if takes_context else ()


def _started(job: JobContext, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return the backend and the result of a task whose attempt begins."""
    task = task_of(job.function, job.queue, job.headers)
    now = moment(None)
    result = TaskResult(
        task=task,
        id=job.job_id,
        status=TaskResultStatus.RUNNING,
        enqueued_at=moment(job.enqueued_at),
        started_at=now,
        last_attempted_at=now,
        finished_at=None,
        args=list(args),
        kwargs=dict(kwargs),
        backend=task.backend,
        errors=[],
        worker_ids=[""] * job.attempt,
    )
    return task.get_backend(), result


def _is_last(job: JobContext, error: Exception) -> bool:
    return not isinstance(error, Snooze) and not job.will_retry(error)


def _succeeded(result: Any, value: Any) -> Any:
    return _ended(result, TaskResultStatus.SUCCESSFUL, value)


def _failed(result: Any, error: Exception) -> Any:
    result.errors.append(failure(error))
    return _ended(result, TaskResultStatus.FAILED, None)


def _ended(result: Any, status: Any, value: Any) -> Any:
    for name, each in (("status", status), ("_return_value", value), ("finished_at", moment(None))):
        object.__setattr__(result, name, each)
    return result
