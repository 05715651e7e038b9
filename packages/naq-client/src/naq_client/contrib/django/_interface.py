"""The interface of Django's tasks: `django.tasks` of Django 6, else the package django-tasks, which has it for older ones."""

from typing import Any

try:
    try:
        from django.tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
        from django.tasks.backends.base import BaseTaskBackend
        from django.tasks.base import Task, TaskError
        from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
        from django.tasks.signals import task_enqueued, task_finished, task_started
        from django.utils.json import normalize_json
    except ModuleNotFoundError:
        from django_tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
        from django_tasks.backends.base import BaseTaskBackend
        from django_tasks.base import Task, TaskError
        from django_tasks.exceptions import InvalidTaskError as InvalidTask
        from django_tasks.exceptions import TaskResultDoesNotExist
        from django_tasks.signals import task_enqueued, task_finished, task_started
        from django_tasks.utils import normalize_json
except ModuleNotFoundError as error:
    raise ImportError('Django 6, or an older one with django-tasks, is needed: pip install "naq-client[django]"') from error

__all__ = [
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "normalize_json",
    "send",
    "send_async",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]


def send(signal: Any, backend: Any, result: Any) -> None:
    """Tell the receivers of a signal."""
    signal.send(sender=type(backend), task_result=result)


async def send_async(signal: Any, backend: Any, result: Any) -> None:
    """Tell them from async code; plain receivers, which may use the database, run in a thread."""
    await signal.asend(sender=type(backend), task_result=result)
