"""What the shop does when tasks are enqueued, start and end: it keeps an account of it."""

from typing import Any

from django.dispatch import receiver

from shop.models import TaskEvent

try:
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ModuleNotFoundError:  # Django before 6
    from django_tasks.signals import task_enqueued, task_finished, task_started


def note(result: Any, what: str) -> None:
    """Keep what happened."""
    TaskEvent.objects.create(task_id=result.id, what=what)


@receiver(task_enqueued)
def enqueued(task_result: Any, **_: Any) -> None:
    """Note that a task was stored."""
    note(task_result, "enqueued")


@receiver(task_started)
def started(task_result: Any, **_: Any) -> None:
    """Note that an attempt has begun."""
    note(task_result, f"started {task_result.attempts}")


@receiver(task_finished)
def finished(task_result: Any, **_: Any) -> None:
    """Note how it ended."""
    note(task_result, f"finished {task_result.status}")
