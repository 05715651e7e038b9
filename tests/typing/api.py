"""Checked by mypy, never run: the types that users see."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, assert_type

from naq_client import (
    Chain,
    Group,
    Job,
    OpenSignature,
    Queue,
    Schedule,
    Signature,
    SyncJob,
    SyncQueue,
    SyncSchedule,
    Workflow,
    chord,
    group,
    result_of,
    results_of,
    task,
)
from naq_core.resources import resource
from naq_scheduler import Scheduler
from naq_worker import Worker


@task(queue="math", max_retries=3)
async def add(a: int, b: int = 0) -> int:
    return a + b


def open_pool() -> Iterator[list[str]]:
    yield []


pool = resource(open_pool)


@resource(scope="attempt")
def session(pool: list[str] = pool) -> Iterator[str]:
    yield pool[0]


@task
async def bill(order: int, db: list[str] = pool, inside: Annotated[str, session] = session) -> str:
    return f"{order} {db} {inside}"


@task
def shout(text: str) -> str:
    return text.upper()


@task
def show(number: float, digits: int = 0) -> str:
    return str(round(number, digits))


@task
async def halve(number: int) -> float:
    return number / 2


@task
def total(numbers: list[int]) -> int:
    return sum(numbers)


def plain(x: float) -> bytes:
    return str(x).encode()


async def coroutine(x: int) -> list[int]:
    return [x]


@task(batch=10, window=0.5, max_retries=3)
async def embed(texts: list[str]) -> list[float | Exception]:
    return [float(len(text)) for text in texts]


@task(batch=10)
def store(rows: list[int]) -> None: ...


async def a_job_of_a_batch_has_one_item_and_one_result() -> None:
    assert_type(await (await embed.enqueue("text")).result(), float)
    assert_type(await (await store.enqueue(1)).result(), None)
    await embed.enqueue(1)  # type: ignore[arg-type]


async def tasks_keep_their_signature() -> None:
    assert_type(shout("a"), str)
    assert_type(await add(1, b=2), int)
    assert_type(await add.enqueue(1, b=2), Job[int])
    assert_type(await bill.enqueue(1), Job[str])
    assert_type(await (await add.enqueue(1)).result(), int)
    assert_type(shout.enqueue_sync("a"), SyncJob[str])
    assert_type(await add.options(timeout=3).enqueue(1), Job[int])
    assert_type(await add.enqueue_in(5, 1, b=2), Job[int])
    await add.enqueue_in(5, "1")  # type: ignore[arg-type]
    await add.enqueue("1")  # type: ignore[arg-type]
    await add.enqueue(1, c=2)  # type: ignore[call-arg]
    await shout.enqueue()  # type: ignore[call-arg]


async def queues_know_the_result(queue: Queue) -> None:
    assert_type(await queue.enqueue(plain, 1.0), Job[bytes])
    assert_type(await queue.enqueue(coroutine, 1), Job[list[int]])
    assert_type(await queue.enqueue("module:function", 1), Job[Any])
    assert_type(await queue.options(max_retries=1).enqueue(plain, 1.0), Job[bytes])
    assert_type(await queue.enqueue_in(5, coroutine, 1), Job[list[int]])
    assert_type(await queue.enqueue_at(datetime.now(UTC), plain, 1.0), Job[bytes])
    assert_type(await queue.options(priority="low").enqueue_in(timedelta(days=1), plain, 1.0), Job[bytes])


async def schedules_are_handles(queue: Queue, blocking: SyncQueue) -> None:
    assert_type(await queue.schedule(plain, 1.0, cron="@daily"), Schedule)
    assert_type(await add.schedule(1, interval=5), Schedule)
    assert_type(await (await queue.get_schedule("s")).trigger(), Job[Any])
    assert_type(blocking.schedule(plain, 1.0, interval=5), SyncSchedule)
    assert_type(blocking.get_schedule("s").next_runs(3), list[datetime])


def the_synchronous_queue_does_too(queue: SyncQueue) -> None:
    assert_type(queue.enqueue(plain, 1.0), SyncJob[bytes])
    assert_type(queue.enqueue(coroutine, 1).result(), list[int])
    assert_type(queue.enqueue_in(5, coroutine, 1), SyncJob[list[int]])


async def workflows_know_the_result(queue: Queue) -> None:
    job = await add.enqueue(1)
    assert_type(result_of(job), int)
    assert_type(results_of([job]), list[int])
    await add.enqueue(result_of(job), b=2)
    await shout.enqueue(result_of(job))  # type: ignore[arg-type]
    assert_type(add.s(1, b=2), Signature[int])
    assert_type(shout.s(), OpenSignature[str, str])
    assert_type(add.s(), OpenSignature[int, int])
    add.s("1")  # type: ignore[call-overload]
    shout.si()  # type: ignore[call-arg]
    assert_type(add.s(1) | add.s() | show.s(), Chain[str])
    assert_type(add.s(1) | halve.s() | show.s(2), Chain[str])
    assert_type(group(add.s(1), add.s(2)) | total.s(), Chain[int])
    add.s(1) | shout.s()  # type: ignore[operator]
    group(add.s(1)) | show.s()  # type: ignore[operator]
    assert_type(group(add.s(1), add.s(2)), Group[int])
    assert_type(await (await group(add.s(n) for n in range(3)).enqueue()).result(), list[int])
    assert_type(chord(group(add.s(1)), shout.s()), Chain[str])
    assert_type(await (await (add.s(1) | show.s()).enqueue()).result(), str)
    flow = Workflow()
    assert_type(flow.add(add.s(1)), Job[int])
    assert_type(flow.add(add.call(1)), Job[int])
    assert_type(flow.add(add.s(1) | show.s()), list[Job[Any]])


def options_are_checked(queue: Queue, blocking: SyncQueue) -> None:
    task(queue="mail", max_retries=3, retry_on=[OSError], priority="high", cron="@daily", overlap="skip")(plain)
    task(max_retry=3)(plain)  # type: ignore[call-overload]
    task(timeout="5")(plain)  # type: ignore[call-overload]
    add.options(queue="mail", timeout=timedelta(seconds=5), depends_on=[blocking.enqueue(plain, 1.0), "id"], unique=None)
    add.options(max_retry=3)  # type: ignore[call-arg]
    add.options(max_retries="3")  # type: ignore[arg-type]
    add.options(priority="urgent")  # type: ignore[arg-type]
    queue.options(max_retries=3, retry_delay=[1, timedelta(minutes=1)], publish_budget=2)
    queue.options(timout=3)  # type: ignore[call-arg]
    queue.options(process="yes")  # type: ignore[arg-type]
    blocking.options(retry_strategy="expo")  # type: ignore[arg-type]


def services_are_checked() -> None:
    Worker(["mail"], concurrency=4, shutdown_grace="5s", allowed_functions=["shop.tasks:*"])
    Worker("mail", concurency=4)  # type: ignore[call-arg]
    Worker("mail", job_serializer="yaml")  # type: ignore[arg-type]
    Queue("mail", publish_budget=2, namespace="shop")
    Queue("mail", namspace="shop")  # type: ignore[call-arg]
    SyncQueue(publish_timeout=None)
    SyncQueue(replicas="3")  # type: ignore[arg-type]
    Scheduler(scheduler_ttl=30)
    Scheduler(sheduler_ttl=30)  # type: ignore[call-arg]
