"""What the backend for Django does, without a whole project; run in a process of its own, as its settings are not the tests'."""

import asyncio
import contextlib
import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

import django
from django.conf import settings
from django.core.checks import Error
from django.core.management import call_command
from django.db import transaction
from django.test.utils import override_settings

BACKEND = "naq_client.contrib.django.backend.NaqBackend"
TASKS = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
INSTALLED = [] if django.VERSION >= (6, 0) else [TASKS]

settings.configure(
    INSTALLED_APPS=[*INSTALLED, "naq_client.contrib.django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
    TASKS={
        "default": {"BACKEND": BACKEND, "QUEUES": ["default", "slow"], "OPTIONS": {"tags": ["django"]}},
        "process": {"BACKEND": BACKEND, "OPTIONS": {"process": True}},
        "dummy": {"BACKEND": f"{TASKS}.backends.dummy.DummyBackend"},
    },
)
django.setup()

from naq_client import SyncQueue  # noqa: E402 - once there are settings
from naq_client.contrib.django._interface import InvalidTask, task_backends  # noqa: E402
from naq_client.contrib.django.models import OutboxJob  # noqa: E402
from naq_client.contrib.django.outbox import put, relay  # noqa: E402
from naq_worker import Worker  # noqa: E402

task: Any = importlib.import_module(TASKS).task


@task
def echo(value: Any, times: int = 1) -> list[Any]:
    """Return what was given."""
    return [value] * times


@task
def returns_object() -> object:
    """Return what is no JSON."""
    return object()


@task(backend="process")
async def in_process(value: int) -> int:
    """Run in a child process."""
    return value


@task(backend="dummy")
def elsewhere() -> None:
    """Belong to another backend."""


def work(*queues: str, **options: Any) -> None:
    """Run all that waits."""
    asyncio.run(Worker(queues or ["default", "slow"], burst=True, **options).run())


def refused(kind: type[Exception], call: Any, *args: Any, **kwargs: Any) -> str:
    """Return why a call is refused."""
    try:
        call(*args, **kwargs)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call} was not refused")


def problems(**backend: Any) -> list[str]:
    """Return the ids of what `manage.py check` finds."""
    with override_settings(TASKS={"default": {"BACKEND": BACKEND, **backend}}):
        found: list[Error] = task_backends["default"].check()
        return [str(each.id) for each in found]


def checks_options() -> None:
    assert problems() == []
    assert problems(OPTIONS={"max_retries": 3, "timeout": 5, "settings": {"namespace": "shop"}}) == []
    assert problems(OPTIONS={"max_retriez": 3}) == ["naq.E001"]
    assert problems(OPTIONS={"max_retries": -1}) == ["naq.E001"]
    assert problems(OPTIONS={"fast": True}) == ["naq.E001"]  # it would have no result
    assert problems(OPTIONS={"settings": {"nats_ulr": "x"}}) == ["naq.E002"]
    assert problems(OPTIONS={"settings": {"namespace": "no dots."}}) == ["naq.E002"]
    assert problems(QUEUES=["no spaces"]) == ["naq.E003"]
    assert problems(OPTIONS={"when": "soon"}) == ["naq.E004"]
    assert problems(OPTIONS={"when": "outbox"}) == []
    with override_settings(INSTALLED_APPS=INSTALLED):
        assert problems(OPTIONS={"when": "outbox"}) == ["naq.E005"]


def gives_results_in_every_state() -> None:
    waiting = echo.enqueue("a", times=2)
    later = echo.using(run_after=datetime.now(UTC) + timedelta(hours=1), priority=-5).enqueue({"b": [1, None]})
    assert (waiting.status, later.status) == ("READY", "READY")
    found = echo.get_result(later.id)
    assert (found.status, found.args, found.task.priority, found.is_finished) == ("READY", [{"b": [1, None]}], -5, False)
    SyncQueue().cancel(later.id, "not needed")
    broken = returns_object.enqueue()
    work()
    waiting.refresh()
    assert (waiting.status, waiting.return_value, waiting.attempts) == ("SUCCESSFUL", ["a", "a"], 1)
    assert waiting.enqueued_at <= waiting.started_at <= waiting.finished_at
    cancelled = asyncio.run(echo.aget_result(later.id))
    assert (cancelled.status, cancelled.args) == ("FAILED", [{"b": [1, None]}])
    assert [each.exception_class.__name__ for each in cancelled.errors] == ["JobCancelledError"]
    assert "not needed" in cancelled.errors[0].traceback
    broken.refresh()
    assert (broken.status, broken.errors[0].exception_class) == ("FAILED", TypeError)
    assert "TaskResultMismatch" in type_of(lambda: returns_object.get_result(waiting.id))
    for unknown in ("nothing", "not an id!", SyncQueue().enqueue("math:sqrt", 2).job_id):
        assert "TaskResultDoesNotExist" in type_of(lambda unknown=unknown: echo.get_result(unknown))


def type_of(call: Any) -> str:
    """Return the name of the error that a call raises."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "nothing"


def keeps_long_arguments_while_the_job_is_stored() -> None:
    long = "x" * 20_000
    result = echo.enqueue(long)
    assert echo.get_result(result.id).args == [long]
    work()
    done = echo.get_result(result.id)
    assert (done.args, done.return_value) == ([], [long])


def runs_in_child_processes_and_with_json_workers() -> None:
    child = in_process.enqueue(7)
    work(imports=[__name__])
    child.refresh()
    assert child.return_value == 7
    known = echo.enqueue({"a": 1})
    work(job_serializer="json")
    known.refresh()
    assert known.return_value == [{"a": 1}]


def has_times_as_the_project_has_them() -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        result = echo.using(run_after=datetime.now() + timedelta(days=1)).enqueue(1)  # noqa: DTZ005 - naive on purpose
        assert result.enqueued_at.tzinfo is None
        assert SyncQueue().job(result.id).view().due_at is not None


def refuses_what_workers_could_not_run() -> None:
    assert "declare it with @task(backend='default')" in refused(InvalidTask, elsewhere.using, backend="default")
    refused(InvalidTask, echo.using, queue_name="unknown")
    refused(TypeError, echo.enqueue, object())
    assert type_of(echo.enqueue) == "InvalidCallError"  # an argument is missing


def keeps_jobs_that_are_no_tasks_in_the_outbox() -> None:
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        row = put(SyncQueue().call("math:sqrt", 16))
        assert type_of(SyncQueue().job(row.job_id).status) == "JobNotFoundError"  # not before the commit
    assert OutboxJob.objects.count() == 0
    work()
    assert SyncQueue().job(row.job_id).result(60) == 4
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        put(SyncQueue().call("math:sqrt", 25))
        _ = 1 / 0
    assert OutboxJob.objects.count() == 0
    poison = OutboxJob.objects.create(job_id="poison", function="none", packed="{")
    OutboxJob.objects.create(job_id=row.job_id, function="math:sqrt", packed=row.packed)  # as a relay leaves it that dies
    assert relay() == (1, 0)
    poison.refresh_from_db()
    assert poison.error.startswith("UnreadableError: ")
    assert relay() == (0, 0)  # it is passed over


CASES = [
    checks_options,
    gives_results_in_every_state,
    keeps_long_arguments_while_the_job_is_stored,
    runs_in_child_processes_and_with_json_workers,
    has_times_as_the_project_has_them,
    refuses_what_workers_could_not_run,
    keeps_jobs_that_are_no_tasks_in_the_outbox,
]


def run() -> None:
    """Run them all."""
    for case in CASES:
        case()
