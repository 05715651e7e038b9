"""What a task declares holds however it is enqueued, and mistakes are found where it is enqueued."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from naq_client import Queue, SyncQueue, chain, group, scheduled, task
from naq_core import (
    AttemptTimeoutError,
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    EnqueueUnknownError,
    InvalidCallError,
    InvalidOptionError,
    Job,
    JobFailedError,
    Settings,
)
from naq_core.connection import Connection
from naq_core.envelope import decode_envelope
from naq_core.inspect import get_job
from naq_core.options import OF_OTHER_QUEUES, OPTIONS, check_names
from naq_core.schedules.declared import file_specs
from naq_core.server import EmbeddedServer
from naq_scheduler import Scheduler
from naq_worker import Worker
from tests.conftest import RunWorker

HERE = "tests.integration.test_task_options"


@task(queue="mail", max_retries=3, retry_delay=0.01, timeout=7, result_ttl=900, priority="high", expires=600)
def send(to: str, subject: str = "") -> str:
    return f"{subject} to {to}"


@task(max_retries=2, retry_delay=0.01)
async def fail_twice(key: str) -> int:
    runs[key] = runs.get(key, 0) + 1
    if runs[key] <= 2:
        raise OSError("not yet")
    return runs[key]


@task(timeout=0.05)
async def never() -> None:
    await asyncio.sleep(3600)


@task(process=True)
def in_a_process() -> int:
    return os.getpid()


@task(delay=3600, unique="the-one")
def later() -> None: ...


runs: dict[str, int] = {}
audited: list[str] = []


def audit(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        audited.append(function.__name__)
        return function(*args, **kwargs)

    return wrapper


def inject(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function("a connection", *args, **kwargs)

    return wrapper


@audit
@task(queue="mail", max_retries=3)
def decorated_above(a: int) -> int:
    return a + 1


@audit
@task(max_retries=2, retry_delay=0.01)
async def decorated_coroutine(key: str) -> int:
    return await fail_twice(key)


@inject
@task(queue="mail")
def injected(connection: str, a: int) -> str:
    return f"{connection} {a}"


def plain(a: int, b: int = 1, *, c: int = 0) -> int:
    return a + b + c


def takes_all(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return kwargs


def says(job: Job[Any]) -> tuple[Any, ...]:
    return (
        job.queue,
        job.options.retry.max_retries,
        job.options.timeout,
        job.options.result_ttl,
        job.options.priority,
        job.delivery.expires_in,
    )


DECLARED = ("mail", 3, 7.0, 900.0, "high", 600.0)

WAYS: dict[str, Callable[[Queue], Awaitable[Job[Any]]]] = {
    "queue.enqueue": lambda queue: queue.enqueue(send, "ada"),
    "queue.enqueue_in": lambda queue: queue.enqueue_in(1, send, "ada"),
    "queue.options": lambda queue: queue.options(job_id="mine").enqueue(send, "ada"),
    "seed form": lambda queue: queue.enqueue(send, "ada", job_id="mine"),
    "task.options": lambda queue: queue.enqueue(send.options(job_id="mine"), "ada"),
    "partial": lambda queue: queue.enqueue(functools.partial(send, "ada")),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_task_keeps_its_options_in_a_queue(settings: Settings, way: str) -> None:
    async with Queue(settings=settings) as queue:
        job = await WAYS[way](queue)
        assert says(job) == DECLARED
        view = await get_job(await queue.connection(), job.job_id)
        assert (view.queue, view.max_attempts, view.priority) == ("mail", 4, "high")
        assert (job.job_id == "mine") is (way in {"queue.options", "seed form", "task.options"})


async def test_a_task_keeps_its_options_in_calls_workflows_and_schedules(settings: Settings, naq_connection: Connection) -> None:
    with SyncQueue(settings=settings) as blocking:
        queue = Queue(connection=naq_connection)
        made = [send.call("a"), queue.call(send, "a"), blocking.call(send, "a"), queue.s(send, "a").job(), Job(send, ("a",))]
        made += (await queue.enqueue_many([queue.options().call(send, "a")]))[:]
        flow = await chain(group(send.s("a"), queue.s(send, "b")), send.si("c")).enqueue(queue)
        made += [*flow.jobs, blocking.enqueue(send, "d").job]
        assert [says(job) for job in made] == [DECLARED] * len(made)
        handle = await queue.schedule(send, "ada", cron="@daily")
        declared = scheduled(queue.call(send, "ada"), cron="@daily", schedule_id="s")
        assert (handle.view.queue, declared.queue, declared.expires_in) == ("mail", "mail", 600.0)
        options = declared.job().opt
        assert (options.retry.max_retries, options.timeout, options.priority) == (3, 7.0, "high")
        assert blocking.schedule(send, "bob", interval=60).view.queue == "mail"


async def test_what_is_said_at_the_call_wins(settings: Settings, naq_connection: Connection) -> None:
    unnamed, named = Queue(connection=naq_connection), Queue("bulk", connection=naq_connection)
    assert named.call(send, "a").queue == "bulk"
    assert named.call(send.options(queue="other"), "a").queue == "bulk"
    assert unnamed.call(send.options(queue="other"), "a").queue == "other"
    assert unnamed.call(plain, 1).queue == settings.default_queue
    job = unnamed.options(max_retries=0, timeout=None, priority="low").call(send.options(timeout=5, result_ttl=None), "a")
    assert says(job) == ("mail", 0, None, None, "low", 600.0)
    assert says(send.options(max_retries=1).options(timeout=1).call("a")) == ("mail", 1, 1.0, 900.0, "high", 600.0)


async def test_an_option_at_the_call_replaces_the_declared_ones_that_it_excludes(queue: Queue) -> None:
    soon = queue.options(delay=5).call(later)
    assert (soon.delivery.delay, soon.delivery.unique) == (5.0, "the-one")
    mine = queue.options(job_id="mine").call(later)
    assert (mine.job_id, mine.delivery.unique, mine.delivery.delay) == ("mine", "", 3600.0)
    assert (await queue.enqueue_in(9, later)).delivery.delay == 9.0
    assert (await later.options(unique=None).enqueue_in(9)).delivery.unique == ""


async def test_the_worker_adds_the_tasks_run_options_to_a_job_that_names_it(
    settings: Settings, queue: Queue, run_worker: RunWorker
) -> None:
    async with run_worker():
        job = await queue.enqueue(f"{HERE}:fail_twice", "by-name")
        assert await job.result(timeout=10) == 3
        assert await (await queue.enqueue(f"{HERE}:in_a_process")).result(timeout=30) != os.getpid()
        with pytest.raises(JobFailedError, match=AttemptTimeoutError.__name__):
            await (await queue.enqueue(f"{HERE}:never")).result(timeout=10)
        once = await queue.options(max_retries=0).enqueue(f"{HERE}:fail_twice", "given")
        with pytest.raises(JobFailedError, match="not yet"):
            await once.result(timeout=10)
    assert runs["given"] == 1
    assert (await get_job(await queue.connection(), once.job_id)).max_attempts in {None, 1}


async def test_a_schedule_in_the_settings_file_gets_the_tasks_run_options(
    settings: Settings, naq_connection: Connection, run_worker: RunWorker, tmp_path: Any
) -> None:
    entry = f'[[schedules]]\nid = "s"\nfunction = "{HERE}:fail_twice"\ninterval = "1h"\nargs = ["by-file"]\n'
    (tmp_path / "naq.toml").write_text(entry, encoding="utf-8")
    queue = Queue(connection=naq_connection)
    await queue.reconcile("file", file_specs(settings, tmp_path)["naq.toml"])
    job = await (await queue.get_schedule("s")).trigger()
    async with run_worker():
        assert await job.result(timeout=10) == 3
    (tmp_path / "naq.toml").write_text(f"{entry}options = {{ max_retry = 3 }}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"max_retry.*did you mean max_retries"):
        file_specs(settings, tmp_path)


def test_what_names_a_function_says_which_options_were_given() -> None:
    def given(job: Job[Any]) -> tuple[str, ...] | None:
        return decode_envelope(job.serialize()).given

    assert given(Job("m:f", max_retries=0, timeout=None)) == ("max_retries", "timeout")
    assert given(Job("m:f")) == ()
    assert given(Job(plain, (1,), max_retries=2)) is None
    assert given(Job.deserialize(Job("m:f", process=True).serialize())) == ("process",)


@pytest.mark.parametrize("serializer", ["pickle", "json"])
async def test_a_decorator_above_a_task_is_what_runs(settings: Settings, run_worker: RunWorker, serializer: str) -> None:
    audited.clear()
    async with Queue(settings=settings, job_serializer=serializer) as queue:  # type: ignore[arg-type]
        jobs = [
            await queue.enqueue(decorated_above, 1),
            await queue.enqueue(f"{HERE}:decorated_above", 1),
            await queue.enqueue(decorated_above.__wrapped__, 1),  # type: ignore[attr-defined]
            await queue.enqueue(decorated_coroutine, f"decorated-{serializer}"),
            await queue.enqueue(injected if serializer == "pickle" else decorated_above, 7),
        ]
        assert [job.queue for job in jobs] == ["mail", "default", "mail", "default", "mail"]
        assert jobs[0].options.retry.max_retries == 3
        async with run_worker("mail", "default", job_serializer=serializer):
            assert [await job.result(10) for job in jobs] == [2, 2, 2, 3, "a connection 7" if serializer == "pickle" else 8]
    assert audited.count("decorated_above") == (3 if serializer == "pickle" else 4)
    assert audited.count("decorated_coroutine") == 3


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"d": 4}, "unexpected keyword argument 'd'"),
        ((1,), {"a": 4}, "multiple values for argument 'a'"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_where_they_are_enqueued(
    queue: Queue, args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    text = rf"do not fit {HERE}:plain\(a: .*int.*, b: .*, \*, c: .*\).*: .*{problem}"
    ways: list[Callable[[], Any]] = [
        lambda: queue.enqueue(plain, *args, **kwargs),
        lambda: queue.enqueue_in(5, plain, *args, **kwargs),
        lambda: queue.enqueue_many([Job(plain, args, kwargs)]),
        lambda: queue.schedule(plain, *args, cron="@daily", **kwargs),
        lambda: task(plain).enqueue(*args, **kwargs),
        lambda: task(plain).si(*args, **kwargs).enqueue(queue),
        lambda: queue.options(job_id="x").enqueue(plain, *args, **kwargs),
    ]
    for way in ways:
        with pytest.raises(InvalidCallError, match=problem if way is ways[4] else text):
            await way()
    with pytest.raises(InvalidCallError):
        queue.call(plain, *args, **kwargs)


async def test_arguments_that_fit_or_cannot_be_checked_are_accepted(queue: Queue) -> None:
    for args, kwargs in [((1,), {}), ((1, 2), {"c": 3}), ((), {"a": 1})]:
        queue.call(plain, *args, **kwargs)
    queue.call(takes_all, 1, 2, three=3)
    queue.call(injected, 7)
    queue.call(functools.partial(plain, 1), c=2)
    queue.call("no.such:function", 1, whatever=2)
    flow = await (task(plain).s(1) | task(plain).s(c=5)).enqueue(queue)
    assert len(flow.jobs) == 2


MISSPELT: dict[str, Callable[[Queue], Any]] = {
    "@task": lambda queue: task(max_retry=3),  # type: ignore[call-overload]
    "task.options": lambda queue: send.options(max_retry=3),  # type: ignore[call-arg]
    "queue.options": lambda queue: queue.options(max_retry=3),  # type: ignore[call-arg]
    "SyncQueue.options": lambda queue: SyncQueue(settings=queue.settings).options(max_retry=3),  # type: ignore[call-arg]
    "Job": lambda queue: Job(plain, (1,), max_retry=3),
}


@pytest.mark.parametrize("where", MISSPELT)
def test_a_misspelt_option_is_refused_with_the_one_that_was_meant(settings: Settings, where: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"^max_retry: is not an option of .*; did you mean max_retries\?$"):
        MISSPELT[where](Queue(settings=settings))


@pytest.mark.parametrize(("theirs", "ours"), OF_OTHER_QUEUES.items())
def test_an_option_of_another_queue_is_refused_with_the_closest_one(theirs: str, ours: str) -> None:
    assert ours in OPTIONS
    with pytest.raises(InvalidOptionError, match=rf"^{theirs}: is not an option of .*; did you mean {ours}\?$"):
        check_names([theirs], OPTIONS, "a job")


async def test_a_misspelt_option_among_the_arguments_is_refused(queue: Queue) -> None:
    with pytest.raises(InvalidCallError, match=r"unexpected keyword argument 'max_retry'; did you mean max_retries\?"):
        await queue.enqueue(plain, 1, max_retry=3)
    with pytest.raises(InvalidCallError, match=r"unexpected keyword argument 'overlop'; did you mean overlap\?"):
        await queue.schedule(plain, 1, cron="@daily", overlop="skip")
    with pytest.raises(InvalidCallError, match=r"unexpected keyword argument 'cronn'; did you mean cron\? .* in schedule\("):
        await queue.schedule(plain, 1, cronn="@daily")
    assert queue.call(takes_all, max_retry=3).kwargs == {"max_retry": 3}


def test_a_priority_that_does_not_exist_is_refused() -> None:
    mistakes: list[Callable[[], Any]] = [
        lambda: task(priority="urgent"),  # type: ignore[call-overload]
        lambda: send.options(priority="urgent"),  # type: ignore[arg-type]
        lambda: Job(plain, (1,), priority="urgent"),
    ]
    for mistake in mistakes:
        with pytest.raises(InvalidOptionError, match="priority: 'urgent' is not one of high, normal, low"):
            mistake()


@pytest.mark.parametrize(
    ("service", "given", "meant"),
    [
        (Worker, {"queues": "mail", "concurency": 4}, "concurrency"),
        (Worker, {"queues": "mail", "hook": []}, "hooks"),
        (Queue, {"namspace": "shop"}, "namespace"),
        (SyncQueue, {"publish_budgt": 1}, "publish_budget"),
        (Scheduler, {"sweep_intervall": 1}, "sweep_interval"),
    ],
)
@pytest.mark.parametrize("with_settings", [False, True])
async def test_a_misspelt_argument_of_a_service_is_refused(
    settings: Settings, service: type, given: dict[str, Any], meant: str, with_settings: bool
) -> None:
    ready = {"settings": settings} if with_settings else {}
    with pytest.raises(InvalidOptionError, match=rf"did you mean {meant}\?"):
        service(**given, **ready)


async def test_a_setting_at_the_service_wins_over_ready_settings(settings: Settings, naq_connection: Connection) -> None:
    worker = Worker("mail", settings=settings, concurrency=3, shutdown_grace="2s")
    assert (worker.concurrency, worker.settings.shutdown_grace.total_seconds()) == (3, 2.0)
    assert worker.settings.namespace == settings.namespace
    assert worker.settings.source("shutdown_grace") == "argument"
    assert Queue(settings=settings, publish_budget=0.5).settings.publish_budget.total_seconds() == 0.5
    with pytest.raises(InvalidOptionError, match=r"publish_budget.*given with a connection"):
        Queue(connection=naq_connection, publish_budget=1)


async def test_a_publish_budget_bounds_an_enqueue_while_the_server_is_away(namespace: str) -> None:
    with EmbeddedServer() as server:
        async with Queue(nats_url=server.url, namespace=namespace, publish_budget=3600) as queue:
            await queue.enqueue(plain, 1)
            server.kill()
            budget = queue.options(publish_budget=0.2)
            ways: list[Callable[[], Awaitable[Any]]] = [
                lambda: budget.enqueue(plain, 1),
                lambda: queue.enqueue(task(publish_budget=0.2)(plain), 1),
                lambda: queue.enqueue_many([budget.call(plain, 1)]),
                lambda: chain(budget.s(plain, 1)).enqueue(queue),
            ]
            for enqueue in ways:
                with pytest.raises((BrokerUnavailableError, EnqueueUnknownError)):
                    await enqueue()


async def test_the_publish_budget_of_a_queue_bounds_each_enqueue(namespace: str) -> None:
    with EmbeddedServer() as server:
        async with Queue(nats_url=server.url, namespace=namespace, publish_budget=0.2) as queue:
            await queue.enqueue(plain, 1)
            server.kill()
            with pytest.raises(BrokerError):
                await queue.enqueue(plain, 1)


async def test_a_publish_budget_bounds_a_server_that_does_not_answer(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BrokerUnavailableError, match=r"publish_budget of 0\.2 s"):
            await Queue(nats_url=url).options(publish_budget=0.2).enqueue(plain, 1)
