"""Checked by mypy, never run: the types that users see."""

from typing import Any, assert_type

from naq_client import Job, Queue, SyncJob, SyncQueue, task


@task(queue="math", max_retries=3)
async def add(a: int, b: int = 0) -> int:
    return a + b


@task
def shout(text: str) -> str:
    return text.upper()


def plain(x: float) -> bytes:
    return str(x).encode()


async def coroutine(x: int) -> list[int]:
    return [x]


async def tasks_keep_their_signature() -> None:
    assert_type(shout("a"), str)
    assert_type(await add(1, b=2), int)
    assert_type(await add.enqueue(1, b=2), Job[int])
    assert_type(await (await add.enqueue(1)).result(), int)
    assert_type(shout.enqueue_sync("a"), SyncJob[str])
    assert_type(await add.options(timeout=3).enqueue(1), Job[int])
    await add.enqueue("1")  # type: ignore[arg-type]
    await add.enqueue(1, c=2)  # type: ignore[call-arg]
    await shout.enqueue()  # type: ignore[call-arg]


async def queues_know_the_result(queue: Queue) -> None:
    assert_type(await queue.enqueue(plain, 1.0), Job[bytes])
    assert_type(await queue.enqueue(coroutine, 1), Job[list[int]])
    assert_type(await queue.enqueue("module:function", 1), Job[Any])
    assert_type(await queue.options(max_retries=1).enqueue(plain, 1.0), Job[bytes])


def the_synchronous_queue_does_too(queue: SyncQueue) -> None:
    assert_type(queue.enqueue(plain, 1.0), SyncJob[bytes])
    assert_type(queue.enqueue(coroutine, 1).result(), list[int])
