"""Functions that the integration tests enqueue."""

import asyncio
import os
import threading
import time

from naq_core import Cancel, Retry, Snooze, current_job

started = threading.Event()
attempts: dict[str, int] = {}


async def add(a: int, b: int = 0) -> int:
    return a + b


def where() -> tuple[int, str]:
    return os.getpid(), threading.current_thread().name


def fail(message: str = "boom") -> None:
    raise ValueError(message)


def fail_until(attempt: int) -> int:
    if current_job().attempt < attempt:
        raise OSError("not yet")
    return current_job().attempt


async def control(kind: str) -> object:
    key = current_job().job_id
    attempts[key] = attempts.get(key, 0) + 1
    if kind == "snooze" and attempts[key] < 3:
        return Snooze(0.01, "not now")
    if kind == "retry" and attempts[key] < 2:
        raise Retry(0.01, "again")
    if kind == "cancel":
        raise Cancel("no need")
    return current_job().attempt


async def sleep(seconds: float) -> str:
    started.set()
    await asyncio.sleep(seconds)
    return "slept"


async def has_started() -> None:
    """Wait, in a test, until a job has set `started`."""
    assert await asyncio.to_thread(started.wait, 10)


def block(seconds: float) -> str:
    time.sleep(seconds)
    return "blocked"


def kill_process() -> None:
    os._exit(7)


def report() -> tuple[str, int, int]:
    context = current_job()
    context.progress(1, 4, "first")
    return context.job_id, context.attempt, context.fence


def large(size: int) -> bytes:
    return b"x" * size
