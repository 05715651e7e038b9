"""structlog: what a job logs has the job's fields."""

from collections.abc import Iterator

try:
    from structlog.contextvars import bound_contextvars
except ImportError as error:
    raise ImportError("structlog is not installed: pip install structlog") from error

from naq_core.middleware import Attempt

__all__ = ["Structlog"]


class Structlog:
    """Middleware that binds `job_id`, `function`, `queue` and `attempt` for the processor `merge_contextvars`."""

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        """Bind them where the function runs."""
        job = attempt.job
        with bound_contextvars(job_id=job.job_id, function=job.function, queue=job.queue, attempt=job.attempt):
            yield
