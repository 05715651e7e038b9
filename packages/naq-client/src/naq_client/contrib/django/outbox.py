"""The outbox: jobs that are stored in a transaction with your rows, and enqueued after it.

`put` stores a row and, once it is committed, tries to enqueue its job. What that leaves, since the process died or NATS was away,
`manage.py naq_outbox` enqueues. The id of a job is in its row, so that a job that is enqueued twice is one job.
"""

import logging
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Any

from django.db import router, transaction
from django.utils import timezone

from naq_client._blocking_loop import blocking_loop
from naq_client._shared import queue_with
from naq_client.contrib._requests import request_settings
from naq_client.outbox import pack, send
from naq_client.queue import Queue
from naq_core.errors import BrokerError
from naq_core.job import Job

__all__ = ["put", "relay"]

log = logging.getLogger(__name__)

AT_COMMIT = 0.5
"""Seconds that a request waits for NATS after its transaction; then the job is left to the relay."""


def put(job: Job[Any], *, backend: str = "", using: str | None = None) -> Any:
    """Store a job, made by `call()` of a queue or a task, in the current transaction, and return its row.

    Args:
        backend: The alias in `TASKS` whose settings of NAQ count; empty: those of the environment.
        using: The alias of the database; by default that of the router.

    Raises:
        EncodeError: It cannot be serialized. InvalidOptionError: It has options that no outbox can keep.
    """
    model = _model()
    database = using or router.db_for_write(model)
    queue = queue_of(backend)
    if job.serializer is None:
        job.serializer = queue.settings.job_serializer
    packed = pack(job, queue.settings)
    row = model(job_id=job.job_id, function=job.function_name, backend=backend, packed=packed)
    row.save(using=database, force_insert=True)
    transaction.on_commit(partial(_relay_at_once, row, database), using=database, robust=True)
    return row


def relay(*, using: str | None = None, older: float = 0.0, limit: int = 100) -> tuple[int, int]:
    """Enqueue the jobs of the oldest rows, and delete these.

    Args:
        using: As of `put`.
        older: Only rows that are older than this, in seconds: others are about to be enqueued by those who stored them.
        limit: How many.

    Returns:
        How many were enqueued, and how many were left, as NATS is away.
    """
    model = _model()
    database = using or router.db_for_write(model)
    found = model.objects.using(database).filter(error="").order_by("pk")
    if older:
        found = found.filter(created_at__lt=timezone.now() - timedelta(seconds=older))
    rows = sorted(found[:limit], key=lambda row: (row.backend, row.pk))
    done = left = 0
    for backend, group in groupby(rows, key=lambda row: str(row.backend)):
        enqueued, remaining = _relay(queue_of(backend), list(group), database)
        done, left = done + enqueued, left + remaining
    return done, left


def _model() -> Any:
    """Return the table. Models exist once Django is set up; this module can be imported before."""
    from naq_client.contrib.django.models import OutboxJob  # noqa: PLC0415 - see above

    return OutboxJob


def queue_of(backend: str) -> Queue:
    """Return the queue with the settings of a backend of `TASKS`."""
    if not backend:
        return queue_with({}, request_settings)
    from naq_client.contrib.django._interface import task_backends  # noqa: PLC0415 - only where tasks are used

    found: Queue = task_backends[backend].queue
    return found


def _relay(queue: Queue, rows: list[Any], database: str, budget: float | None = None) -> tuple[int, int]:
    errors = blocking_loop().run(send(queue, [row.packed for row in rows], budget))
    done = [row for row, error in zip(rows, errors, strict=True) if error is None]
    _model().objects.using(database).filter(pk__in=[row.pk for row in done]).delete()
    away = [error for error in errors if isinstance(error, BrokerError)]
    if away:
        log.warning("%d jobs of the outbox wait until NATS can be reached: %s", len(away), away[0])
    for row, error in zip(rows, errors, strict=True):
        if error is not None and not isinstance(error, BrokerError):
            row.error = f"{type(error).__name__}: {error}"
            row.save(using=database, update_fields=["error"])
    return len(done), len(away)


def _relay_at_once(row: Any, database: str) -> None:
    _relay(queue_of(row.backend), [row], database, AT_COMMIT)
