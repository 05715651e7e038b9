"""The table of the outbox."""

from django.db import models

__all__ = ["OutboxJob"]


class OutboxJob(models.Model):  # type: ignore[misc] # Django has no types
    """A job that was stored in a transaction and waits to be enqueued. The relay deletes it once it is."""

    job_id = models.CharField(max_length=255, unique=True)
    function = models.CharField(max_length=512)
    backend = models.CharField(max_length=255, blank=True)
    """The alias in `TASKS` whose settings count; empty: those of the environment."""
    packed = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    error = models.TextField(blank=True)
    """Why it can never be enqueued. The relay passes such rows over; empty it to try again."""

    class Meta:
        """How the table is called."""

        db_table = "naq_outbox"
        verbose_name = "job of the outbox"
        verbose_name_plural = "jobs of the outbox"

    def __str__(self) -> str:
        return f"{self.job_id} {self.function}"
