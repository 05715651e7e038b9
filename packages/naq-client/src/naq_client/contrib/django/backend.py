"""The backend for `django.tasks`: `TASKS = {"default": {"BACKEND": "naq_client.contrib.django.backend.NaqBackend"}}`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import transaction
from django.utils import timezone

from naq_client._blocking_loop import blocking_loop, enqueue_blocking
from naq_client._shared import queue_with
from naq_client.contrib._requests import request_settings
from naq_client.contrib.django._interface import (
    BaseTaskBackend,
    InvalidTask,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    normalize_json,
    send,
    send_async,
    task_enqueued,
)
from naq_client.contrib.django.results import HEADER, described, moment, read_header, result_of
from naq_client.contrib.django.task import NaqTask
from naq_client.queue import Queue
from naq_core.enqueue.submit import submit
from naq_core.errors import InvalidNameError, InvalidOptionError, JobNotFoundError, NaqError
from naq_core.job import Job
from naq_core.names import check_queue
from naq_core.option_set import OptionSet
from naq_core.options import RUN_OPTIONS, check_names
from naq_core.record import JobState
from naq_core.serialization import JSON
from naq_core.storage import records
from naq_core.views import JobView

__all__ = ["NaqBackend"]

JOB_OPTIONS = RUN_OPTIONS | {"expires", "tags", "headers", "claim"}
"""Options of `queue.options()` that a backend may have for all its tasks."""
OWN_OPTIONS = frozenset({"settings", "when", "database"})
WHEN = ("now", "on_commit", "outbox")


class NaqBackend(BaseTaskBackend):  # type: ignore[misc] # Django has no types
    """Enqueues tasks as jobs of NAQ.

    `OPTIONS` may have options of jobs (`max_retries`, `timeout`, `result_ttl` …), and

    - `settings`: Settings of NAQ by their names, such as `{"nats_url": …}`; the rest comes from the environment.
    - `when`: `now`; `on_commit`, after the transaction in which a task is enqueued; or `outbox`, in that transaction as a row.
    - `database`: The alias of the database whose transaction that is.
    """

    task_class = NaqTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    @property
    def queue(self) -> Queue:
        """The connection to NATS, which all backends with the same settings share; opened at the first use in each process.

        Raises:
            InvalidOptionError, ConfigurationError: A setting is wrong.
        """
        return queue_with(self.options.get("settings", {}), request_settings)

    @property
    def when(self) -> str:
        """When a task is enqueued: `now`, `on_commit` or `outbox`.

        Raises:
            InvalidOptionError: The option has another value.
        """
        found = str(self.options.get("when", "now"))
        if found not in WHEN:
            raise InvalidOptionError("when", f"must be one of {', '.join(WHEN)}, not {found!r}")
        return found

    @property
    def database(self) -> str | None:
        """Whose transaction counts; None: of the default database."""
        found: str | None = self.options.get("database")
        return found

    def validate_task(self, task: Any) -> None:
        """Refuse a task that workers would not find.

        Raises:
            InvalidTask: It was declared for a backend of another class.
        """
        super().validate_task(task)
        if not isinstance(task, NaqTask):
            raise InvalidTask(
                f"{task.module_path} is a task of another backend, which NAQ's workers cannot run: "
                f"declare it with @task(backend={self.alias!r})"
            )

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Store a task, or have it stored when the transaction is committed.

        Raises:
            BrokerError: NATS is away. EnqueueUnknownError: And it is unknown whether the task was stored.
        """
        job, result = self._made(task, args, kwargs)
        if self.when == "now":
            self._enqueue_now(job, result)
        elif self.when == "on_commit":
            transaction.on_commit(partial(self._enqueue_now, job, result), using=self.database)
        else:
            from naq_client.contrib.django.outbox import put  # noqa: PLC0415 - models are there once Django is set up

            put(job, backend=self.alias, using=self.database)
            transaction.on_commit(partial(send, task_enqueued, self, result), using=self.database)
        return result

    async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Do the same without a thread, where no transaction is waited for."""
        if self.when != "now":
            return await super().aenqueue(task, args, kwargs)
        job, result = self._made(task, args, kwargs)
        await submit(self.queue, job)
        await send_async(task_enqueued, self, _with_time(result, job))
        return result

    def _enqueue_now(self, job: Job[Any], result: Any) -> None:
        enqueue_blocking(self.queue, job)
        send(task_enqueued, self, _with_time(result, job))

    def get_result(self, result_id: str) -> Any:
        """Return the result of a task in whatever state it is.

        Raises:
            TaskResultDoesNotExist: There is no such task, or not any more (`result_ttl`, `failure_ttl`).
        """
        return blocking_loop().run(self.aget_result(result_id))

    async def aget_result(self, result_id: str) -> Any:
        """See `get_result`."""
        try:
            job = await self.queue.job(result_id)
            view = await job.view()
            value = await job.result(timeout=0) if view.state is JobState.SUCCEEDED else None
        except (InvalidNameError, JobNotFoundError):
            raise TaskResultDoesNotExist(result_id) from None
        arguments = await self._stored_arguments(view) if read_header(result_id, view.headers).is_cut else None
        return result_of(view, arguments, value)

    async def _stored_arguments(self, view: JobView) -> tuple[Any, Any] | None:
        """Return the arguments of a job that is still stored."""
        connection = await self.queue.connection()
        _, message = await records.look_up(connection, view.job_id, view.queue)
        if message is None:
            return None
        stored = Job.deserialize(message.data, queue=view.queue, serializer=JSON, settings=connection.settings)
        await stored.load_arguments(connection)
        return stored.args, stored.kwargs

    def check(self, **kwargs: Any) -> list[Any]:
        """Return what is wrong with `OPTIONS` and `QUEUES`, for `manage.py check`."""
        return [*super().check(**kwargs), *(checks.Error(text, hint=hint, id=code) for text, hint, code in self._problems())]

    def _problems(self) -> Iterator[tuple[str, str, str]]:
        where = f"TASKS[{self.alias!r}]"
        try:
            OptionSet(self._job_options())
        except NaqError as error:
            yield str(error), f"See OPTIONS of {where}.", "naq.E001"
        try:
            request_settings(**self.options.get("settings", {}))
        except NaqError as error:
            yield str(error), f"See OPTIONS['settings'] of {where}, the variables NAQ_…, and naq.toml.", "naq.E002"
        for name in self.queues:
            try:
                check_queue(name)
            except NaqError as error:
                yield str(error), f"See QUEUES of {where}.", "naq.E003"
        try:
            is_outbox = self.when == "outbox"
        except NaqError as error:
            is_outbox = False
            yield str(error), f"See OPTIONS of {where}.", "naq.E004"
        if is_outbox and not apps.is_installed("naq_client.contrib.django"):
            yield "The outbox is a table.", "Add 'naq_client.contrib.django' to INSTALLED_APPS and run migrate.", "naq.E005"

    def _job_options(self) -> dict[str, Any]:
        """Return the options that all jobs have.

        Raises:
            InvalidOptionError: There is no such option.
        """
        check_names(self.options, JOB_OPTIONS | OWN_OPTIONS, f"TASKS[{self.alias!r}]['OPTIONS']")
        return {name: value for name, value in self.options.items() if name not in OWN_OPTIONS}

    def _made(self, task: Any, args: Any, kwargs: Any) -> tuple[Job[Any], Any]:
        """Return the job of a task, encoded, and its result so far."""
        self.validate_task(task)
        args, kwargs = normalize_json(args), normalize_json(kwargs)
        given = self._job_options()
        given["headers"] = {**given.get("headers", {}), HEADER: described(self.alias, task.priority, args, kwargs)}
        given["priority"] = "high" if task.priority > 0 else "low" if task.priority < 0 else "normal"
        if task.run_after is not None:
            given["at"] = timezone.make_aware(task.run_after) if timezone.is_naive(task.run_after) else task.run_after
        job: Job[Any] = Job(task, args, kwargs, queue=task.queue_name, serializer=JSON, options=OptionSet(given))
        result = TaskResult(
            task=task,
            id=job.job_id,
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        job.encode()  # what cannot be sent is refused before the transaction ends
        return job, result


def _with_time(result: Any, job: Job[Any]) -> Any:
    """Return a result that says when its job was stored."""
    object.__setattr__(result, "enqueued_at", moment(datetime.fromtimestamp(job.enqueued_at, UTC)))
    return result
