"""Orders, and what the signals of the tasks have told."""

from django.db import models


class Order(models.Model):  # type: ignore[misc] # Django has no types
    """Something that somebody has bought."""

    customer = models.CharField(max_length=100)
    is_paid = models.BooleanField(default=False)
    shipped = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"order {self.pk} of {self.customer}"


class TaskEvent(models.Model):  # type: ignore[misc] # as above
    """Something that happened to a task."""

    task_id = models.CharField(max_length=100)
    what = models.CharField(max_length=100)

    def __str__(self) -> str:
        return f"{self.task_id} {self.what}"
