"""Functions that the integration tests enqueue."""

import asyncio
import logging
import os
import threading
import time
from contextvars import ContextVar
from pathlib import Path

from naq_core import Cancel, JobCancelledError, Retry, Snooze, current_job, track

started = threading.Event()
order: list[str] = []
most: list[int] = []
going_on: set[str] = set()
meetings: dict[str, set[str]] = {}
attempts: dict[str, int] = {}
runs: dict[str, int] = {}
told: list[str] = []
"""Jobs in threads that learnt that they were cancelled."""


async def add(a: int, b: int = 0) -> int:
    return a + b


def returned(value: object) -> object:
    return value


def anything(*args: object, **kwargs: object) -> None:
    """Take whatever is given."""


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


async def now() -> float:
    return time.time()


async def note(name: str) -> None:
    order.append(name)


async def nap(name: str, seconds: float) -> None:
    order.append(name)
    await asyncio.sleep(seconds)


async def meet(name: str, number: int) -> int:
    """Wait until that many jobs have begun in this process."""
    here = meetings.setdefault(name, set())
    here.add(current_job().job_id)
    while len(here) < number:  # noqa: ASYNC110 - of a few jobs in one process
        await asyncio.sleep(0.01)
    return len(here)


async def count(seconds: float) -> None:
    going_on.add(current_job().job_id)
    most.append(len(going_on))
    await asyncio.sleep(seconds)
    going_on.discard(current_job().job_id)


async def takes_delay(*, delay: int) -> int:
    return delay


async def sleep(seconds: float) -> str:
    started.set()
    await asyncio.sleep(seconds)
    return "slept"


async def hold(gate: Path, name: str = "") -> str:
    """Run until that file is there, and note the name then."""
    started.set()
    while not gate.exists():  # noqa: ASYNC110, ASYNC240 - a test creates it
        await asyncio.sleep(0.01)
    if name:
        order.append(name)
    return "held"


async def has_started() -> None:
    """Wait, in a test, until a job has set `started`."""
    assert await asyncio.to_thread(started.wait, 10)


def block(seconds: float) -> str:
    time.sleep(seconds)
    return "blocked"


def ask_whether_cancelled(seconds: float) -> None:
    """Run in a thread until it is told, and say so."""
    job = current_job()
    started.set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if job.is_cancelled:
            told.append(job.job_id)
            return
        time.sleep(0.01)


def report_until_cancelled(seconds: float) -> None:
    """Run in a thread and report progress until that raises."""
    job = current_job()
    started.set()
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            job.progress(1)
            time.sleep(0.01)
    except JobCancelledError:
        told.append(job.job_id)
        raise


def write_pid_and_sleep(path: str, seconds: float) -> None:
    Path(path).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(seconds)


class AtOnce:
    """How many jobs run, and how many ever ran at once since the last reset."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def reset(self) -> None:
        self.now = self.most = 0


at_once = AtOnce()


async def count_at_once(seconds: float) -> None:
    at_once.now += 1
    at_once.most = max(at_once.most, at_once.now)
    try:
        await asyncio.sleep(seconds)
    finally:
        at_once.now -= 1


async def count_until(expected: int) -> None:
    """Wait until so many run at once, and a moment longer: one too many would be counted."""
    at_once.now += 1
    at_once.most = max(at_once.most, at_once.now)
    try:
        async with asyncio.timeout(20):
            while at_once.most < expected:  # noqa: ASYNC110 - they come within milliseconds
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.03)
    finally:
        at_once.now -= 1


async def count_run() -> None:
    key = current_job().job_id
    runs[key] = runs.get(key, 0) + 1


def fail_unless(path: str) -> str:
    """Fail until a file is there."""
    if not Path(path).exists():
        raise OSError("not there")
    return "there"


def fail_for(customer: str, path: str) -> None:
    """Fail until a file is there, with an error for each customer."""
    if not Path(path).exists():
        raise ValueError(f"the card of {customer} was declined")


def kill_process() -> None:
    os._exit(7)


def follow_plan(*plan: str) -> int:
    """Do in each attempt what the plan says: `crash` the process, `fail` or `return` the attempt."""
    attempt = current_job().attempt
    if plan[attempt - 1] == "crash":
        kill_process()
    if plan[attempt - 1] == "fail":
        raise ValueError(f"attempt {attempt}")
    return attempt


def report() -> tuple[str, int, int]:
    context = current_job()
    context.progress(1, 4, "first")
    return context.job_id, context.attempt, context.fence


def large(size: int) -> bytes:
    return b"x" * size


async def log_lines(count: int, release: str = "") -> int:
    """Log from a task, and wait for a file where one is named."""
    logger = logging.getLogger("app.of.the.user")
    for number in range(count):
        logger.warning("line %d of %d", number + 1, count)
    logger.debug("not shown")
    current_job().log("by hand", "NOTE")
    while release and not Path(release).exists():  # noqa: ASYNC110, ASYNC240 - a signal between processes
        await asyncio.sleep(0.02)
    return count


def log_and_fail_once() -> str:
    logger = logging.getLogger("app")
    if current_job().attempt == 1:
        try:
            int("no number")
        except ValueError:
            logger.exception("it went wrong")
        raise OSError("try again")
    logger.warning("better now")
    return "done"


def tracked(count: int) -> int:
    return sum(track(range(count), note="adding"))


def give(kind: str) -> object:
    """Return values that previews have to cope with."""
    values: dict[str, object] = {
        "none": None,
        "number": 7,
        "nested": {"b": [1, 2, 3], "a": ("x", b"y" * 100)},
        "large": "x" * 100_000,
    }
    return values[kind]


def rebuild_a_log_record() -> str:
    return logging.makeLogRecord({"name": "shop", "msg": "from %s", "args": ("afar",)}).getMessage()


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def become_tenant(name: str) -> str:
    """Set a context variable, as a job does for the code that it calls; return what it was before."""
    before = tenant.get()
    tenant.set(name)
    await asyncio.sleep(0)
    return before


def become_tenant_here(name: str) -> str:
    before = tenant.get()
    tenant.set(name)
    return before


async def move_in() -> None:
    """Be a start-up hook that leaves something behind in the context."""
    tenant.set("house")


def fail_twice() -> None:
    """Log a line and fail, each time with another error."""
    logging.getLogger("app").warning("attempt %d", current_job().attempt)
    if current_job().attempt == 1:
        raise OSError("the shop does not answer")
    raise ValueError("the order is lost")
