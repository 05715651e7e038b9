"""Resources, and functions of jobs that ask for them; in a module, so that child processes find them."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, ClassVar, Self

from naq_client import task
from naq_core import current_job
from naq_core.control import Retry
from naq_core.resources import resource


class Log:
    """What happened in this process, and in its child processes where it is a file."""

    path: Path | None = None
    lines: ClassVar[list[str]] = []

    @classmethod
    def note(cls, line: str) -> None:
        cls.lines.append(line)
        if file := os.environ.get("RESOURCE_LOG"):
            with Path(file).open("a") as opened:
                opened.write(f"{line}\n")


class Pool:
    """Something that is opened once."""

    def __init__(self) -> None:
        self.used = 0
        self.is_open = True
        self.thread = threading.get_ident()
        self.process = os.getpid()

    def use(self) -> int:
        assert self.is_open
        self.used += 1
        return self.used


class Gate:
    """What tests let happen while a resource is opened."""

    failures = 0
    opens: "asyncio.Event | None" = None
    lines: ClassVar[list[asyncio.Event]] = []


@resource
async def pool() -> AsyncIterator[Pool]:
    Log.note("pool opens")
    if Gate.failures:
        Gate.failures -= 1
        raise ConnectionError("no database")
    if Gate.opens is not None:
        await Gate.opens.wait()
    found = Pool()
    async with asyncio.TaskGroup():  # which only the task may leave that has entered it
        yield found
    found.is_open = False
    Log.note("pool closes")


def open_model(pool: Annotated[Pool, pool]) -> Iterator[str]:
    assert threading.current_thread() is not threading.main_thread() or "_executors" in __import__("sys").argv[0]
    Log.note("model opens")
    yield f"model of {type(pool).__name__}"
    assert pool.is_open
    Log.note("model closes")
    raise OSError("it does not close")


model = resource(open_model)


class Session:
    """A context manager, as those of libraries are."""

    def __init__(self, pool: Pool = pool) -> None:
        self.pool = pool

    def __enter__(self) -> Self:
        self.thread = threading.get_ident()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None) -> bool:
        assert threading.get_ident() == self.thread
        Log.note(f"rollback after {error!r}" if error else "commit")
        return True  # which changes nothing


session = resource(Session, scope="attempt")


@resource(scope="attempt")
@asynccontextmanager
async def transaction(inside: Session = session) -> AsyncIterator[str]:
    job = current_job()
    Log.note(f"begin attempt {job.attempt}")
    try:
        yield f"transaction {inside.pool.use()}"
    finally:
        Log.note("end")


async def use(order: int, db: Pool = pool, *, flag: bool = False) -> list[Any]:
    return [order, flag, db.use(), db.process == os.getpid(), db.is_open]


def use_in_thread(order: int, db: Annotated[Pool, pool], flag: bool = False) -> list[Any]:
    return [order, flag, db.use(), db.process == os.getpid(), db.is_open]


declared = task(use)


def predict(model: str = model, again: Annotated[str, model] = "") -> list[str]:
    return [model, again]


async def change(what: str, inside: Session = session, name: str = transaction) -> str:
    return _change(what, inside, name)


def change_in_thread(what: str, inside: Session = session, name: str = transaction) -> str:
    return _change(what, inside, name)


def session_in_thread(what: str, inside: Session = session) -> str:
    assert inside.thread == threading.get_ident()
    return _change(what, inside, "-")


def _change(what: str, inside: Session, name: str) -> str:
    assert inside.pool.is_open
    Log.note(f"{what} in {name}")
    if what == "fail":
        raise ValueError("wrong")
    if what == "retry" and current_job().attempt == 1:
        raise Retry(delay=0)
    return what


@contextmanager
def _broken_at_the_end() -> Iterator[int]:
    yield 1
    raise OSError("the disk is full")


broken_at_the_end = resource(_broken_at_the_end, scope="attempt")


def use_broken(one: int = broken_at_the_end) -> int:
    return one


async def stop_the_loop(db: Pool = pool) -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(60)


@resource
async def line() -> AsyncIterator[int]:
    """Be open until the test breaks it."""
    broken = asyncio.Event()

    async def watch() -> None:
        await broken.wait()
        raise OSError("connection lost")

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        Gate.lines.append(broken)
        yield len(Gate.lines)
        watching.cancel()


async def use_line(number: int = line) -> int:
    return number
