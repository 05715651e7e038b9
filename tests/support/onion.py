"""Middleware for tests: what it does is said by the job's headers."""

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from naq_client import Queue, task
from naq_core import Cancel, DuplicateJobError, Retry, Snooze, current_job
from naq_core.middleware import Attempt, Enqueue, InheritHeaders

seen: ContextVar[tuple[str, ...]] = ContextVar("seen", default=())
"""Which layers the code that reads it is in."""


class Outer:
    """An async one."""

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        seen.set((*seen.get(), "outer"))
        await asyncio.sleep(0)
        yield
        await asyncio.sleep(0)
        attempt.result = ["outer", attempt.result]


class Inner:
    """A plain one."""

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        seen.set((*seen.get(), "inner"))
        if "thread" in inspect.signature(attempt.function).parameters:
            attempt.kwargs["thread"] = threading.current_thread().name
        yield
        attempt.result = ["inner", attempt.result]


class Mail:
    """One for a queue."""

    queues = ("mail",)

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        for job in jobs:
            job.headers["mail"] = str(len(jobs))
        yield

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        yield
        attempt.result = ["mail", attempt.result]


class Own:
    """One of a task."""

    def __init__(self, name: str = "own") -> None:
        self.name = name

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        for job in jobs:
            job.headers[self.name] = str(len(jobs))
        yield

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        yield
        attempt.result = [self.name, attempt.result]


class Noting:
    """One that notes in a file when it is left."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        yield
        with self.path.open("a") as file:
            file.write("left\n")


def fork() -> int:
    """Fork and return in both processes; give the exit code of the copy."""
    copy = os.fork()
    return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) if copy else 0


async def fork_in_the_loop() -> int:
    return fork()


class Watching:
    """One that notes what it sees of an attempt's end."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise


class Stamp:
    """One that adds what it sees of an enqueue as a header, and does to an attempt what a header says."""

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        for job in jobs:
            job.headers["stamp"] = f"{job.kind} {job.function.rpartition(':')[2]} {len(jobs)}"
            job.tags = (*job.tags, "stamped")
        yield

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        match attempt.job.headers.get("do"):
            case "skip":
                attempt.result = "skipped"
                return
            case "fail":
                raise ValueError("no luck")
            case "snooze" if attempt.job.job_id not in snoozed:
                snoozed.add(attempt.job.job_id)
                raise Snooze(0.01)
            case "fail once" if attempt.job.attempt == 1:
                raise OSError("not yet")
            case "retry" if attempt.job.attempt == 1:
                raise Retry(0.01, "again")
            case "cancel":
                raise Cancel("not wanted")
            case "catch":
                try:
                    yield
                except ValueError as error:
                    attempt.result = f"caught {error}"
                return
            case "twice":
                yield
            case _:
                pass
        yield


snoozed: set[str] = set()


async def look(thread: str = "") -> list[object]:
    return [seen.get(), thread == threading.current_thread().name]


def look_in_a_thread(thread: str = "") -> list[object]:
    return [seen.get(), thread == threading.current_thread().name]


def look_with_a_loop(thread: str = "") -> list[object]:
    """Run an event loop, which is not possible inside of one that runs."""
    return asyncio.run(look(thread))


@task(middleware=[Own])
def owned() -> dict[str, str]:
    return dict(current_job().headers)


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def stamped() -> tuple[str, tuple[str, ...]]:
    return current_job().headers.get("stamp", ""), current_job().tags


def headers() -> dict[str, str]:
    return dict(current_job().headers)


def attempt_number() -> int:
    return current_job().attempt


def fail() -> None:
    raise ValueError("boom")


@task(max_retries=5, retry_delay=0.01)
def fail_always() -> None:
    raise ValueError("boom")


async def fail_async() -> None:
    raise ValueError("boom")


def stop() -> None:
    raise StopIteration


class Change:
    """One that changes, refuses or leaves out an enqueue, as the job's headers say."""

    def change(self, job: Enqueue) -> None:
        match job.headers.get("do"):
            case "change":
                assert job.args is not None
                assert job.kwargs is not None
                job.args = (*job.args, "more")
                job.kwargs["added"] = 1
                job.set(max_retries=7, priority="high", expires=600, tags=["set"])
                job.headers["done"] = str(job.options.retry.max_retries)
            case "retries":
                job.set(max_retries=1)
            case "expiry":
                job.set(expires=600)
            case "clear":
                job.args = job.kwargs = None
            case _:
                pass

    async def enqueue(self, jobs: Sequence[Enqueue]) -> AsyncIterator[None]:
        for job in jobs:
            self.change(job)
            match job.headers.get("do"):
                case "refuse":
                    raise ValueError("not today")
                case "wrong":
                    job.headers["a b"] = "c"
                case "skip":
                    return
                case _:
                    pass
        try:
            yield
        except DuplicateJobError:
            if jobs[0].headers.get("do") != "catch":
                raise


def given(*args: object, **kwargs: object) -> list[object]:
    return [list(args), kwargs]


class Idle:
    """One that changes nothing."""

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        yield


class NoGenerator:
    def attempt(self, attempt: Attempt) -> None: ...


class NeedsArguments:
    def __init__(self, name: str) -> None:
        self.name = name

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        yield


class OneQueue:
    queues = "mail"

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        yield


async def enqueue_child() -> dict[str, str]:
    """Enqueue a job from inside of one, and return its headers."""
    async with Queue() as queue:
        job = await queue.options(headers={"own": "1"}).enqueue(headers)
        return dict((await job.view()).headers)


some = InheritHeaders("tenant")


class Tenant:
    """One that writes a context variable of the caller into headers."""

    async def enqueue(self, jobs: Sequence[Enqueue]) -> AsyncIterator[None]:
        for job in jobs:
            job.headers["tenant"] = ",".join(seen.get())
        yield
