"""Job functions that write down what they do.

Worker processes import this module, so that the functions travel by name; the history file is
named by the environment variable `NAQ_TEST_HISTORY`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import random
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from naq_core import Cancel, Retry, Snooze, current_job
from tests.support.history import HISTORY_VARIABLE, History
from tests.support.sink import apply_once


@cache
def _history(path: str) -> History:
    return History(path)


def history() -> History:
    """Return the history of the test that this process belongs to."""
    return _history(os.environ[HISTORY_VARIABLE])


def _fence() -> int:
    """Return the fence of this attempt. Reading `fence` itself would have the job claimed."""
    return current_job()._fence


@contextmanager
def _recorded() -> Iterator[None]:
    """Record the start and the end of one run."""
    job = current_job()
    about = {"job": job.job_id, "attempt": job.attempt, "fence": _fence(), "worker": os.getpid()}
    history().record("start", **about)
    outcome = "ok"
    try:
        yield
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    except BaseException:
        outcome = "error"
        raise
    finally:
        history().record("end", **about, outcome=outcome)


async def work(seconds: float = 0.0) -> int:
    """Take a while without blocking; return the worker's process id."""
    with _recorded():
        await asyncio.sleep(seconds)
    return os.getpid()


async def work_with_effect(seconds: float, sink: str) -> int:
    """Take a while, apply an effect to the sink, and return the worker's process id."""
    job = current_job()
    with _recorded():
        await asyncio.sleep(seconds)
        applied = apply_once(Path(sink), job.job_id, job.fence)
        history().record("effect", job=job.job_id, fence=job.fence, applied=applied)
    return os.getpid()


async def block_the_loop(seconds: float) -> int:
    """Block the event loop, as careless code does."""
    with _recorded():
        time.sleep(seconds)  # noqa: ASYNC251 - the point of it
    return os.getpid()


async def spin_the_loop(seconds: float) -> int:
    """Keep the event loop and the interpreter busy."""
    with _recorded():
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass
    return os.getpid()


def work_in_a_process(seconds: float = 0.0) -> int:
    """Take a while in a child process; return its process id."""
    with _recorded():
        time.sleep(seconds)
    return os.getpid()


def exit_at_once() -> None:
    """Take the child process down without an exception."""
    with _recorded():
        os._exit(3)


def be_killed() -> None:
    """End the child process as the kernel does when memory runs out."""
    with _recorded():
        os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    """Take the child process down by a bad read."""
    with _recorded():
        ctypes.string_at(0)


def return_bytes(size: int) -> bytes:
    """Return a result of a given size."""
    return b"r" * size


def measure(payload: bytes) -> int:
    """Return the size of the argument."""
    return len(payload)


def fail_with(payload: bytes) -> None:
    """Fail, whatever the argument."""
    raise RuntimeError(f"{len(payload)} bytes refused")


def fail_loudly(size: int) -> None:
    """Fail with a message of a given size."""
    raise RuntimeError("x" * size)


def fork_and_return() -> int:
    """Fork and return in both processes; give the exit code of the copy."""
    with _recorded():
        copy = os.fork()
        return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) if copy else 0


async def fork_and_return_in_the_loop() -> int:
    """Do the same in an event loop."""
    return fork_and_return()


async def exit_the_worker() -> None:
    """Take the whole worker down."""
    with _recorded():
        os._exit(3)


async def work_on(payload: bytes) -> int:
    """Return the size of the argument, and leave a trace."""
    with _recorded():
        return len(payload)


def fail_with_a_file_name() -> None:
    """Fail with the name of a file that is not UTF-8, as Python decodes it."""
    raise RuntimeError("no such file: " + os.fsdecode(b"caf\xe9"))


def block_a_thread(seconds: float) -> int:
    """Take a while in a thread, which nobody can stop."""
    with _recorded():
        time.sleep(seconds)
    return os.getpid()


async def refuse_to_be_cancelled(seconds: float) -> None:
    """Go on whatever happens."""
    with _recorded():
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)


class UnusualError(BaseException):
    """What is no `Exception`, as some libraries use for control flow."""


ERRORS: dict[str, type[BaseException]] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": SystemExit,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "Unusual": UnusualError,
}


def raise_in_a_thread(name: str) -> None:
    """Raise an error that is no `Exception`."""
    raise ERRORS[name]


async def raise_on_the_loop(name: str) -> None:
    """Raise it in the worker's event loop."""
    await asyncio.sleep(0)
    raise ERRORS[name]


async def raise_in_a_future(name: str) -> None:
    """Await a future that carries it."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, ERRORS[name]())
    await future


async def raise_in_a_task(name: str) -> None:
    """Raise it in a task of the job's own."""
    await asyncio.gather(raise_on_the_loop(name))


async def raise_in_a_callback(name: str) -> None:
    """Raise it where nobody waits for it, and wait."""
    asyncio.get_running_loop().call_soon(raise_in_a_thread, name)
    await asyncio.sleep(300)


async def wait_for_a_task_of_its_own(seconds: float) -> None:
    """Take a while in a task that the job has started."""
    with _recorded():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(seconds))


async def return_after_cancellation() -> str:
    """Return something although it was cancelled."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(300)
    return "too late"


async def wait_for_the_default_executor(seconds: float) -> None:
    """Take a while in a thread of the event loop's executor, which `asyncio.run` waits for."""
    with _recorded():
        await asyncio.to_thread(time.sleep, seconds)


async def leave_a_thread_behind(seconds: float) -> None:
    """Take a while, beside a thread that the interpreter waits for."""
    threading.Thread(target=time.sleep, args=(seconds,), daemon=False).start()
    with _recorded():
        await asyncio.sleep(seconds)


async def ignore_signals(seconds: float) -> None:
    """Take a while, and the signals that stop the worker."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _recorded():
        await asyncio.sleep(seconds)


def _chance() -> float:
    """Draw a number for this run of the job, the same one wherever it is drawn."""
    job = current_job()
    return random.Random(f"{job.job_id} {_fence()}").random()


async def take_a_chance() -> object:
    """End in any way that a function can, or go on for a while."""
    chance = _chance()
    if chance < 0.2:
        raise RuntimeError("by chance")
    if chance < 0.3:
        raise Retry(0.01, "by chance")
    if chance < 0.4:
        raise Cancel("by chance")
    if chance < 0.5:
        return Snooze(0.01, "by chance")
    await asyncio.sleep(chance if chance < 0.8 else 0)
    return None


def take_a_chance_in_a_process() -> None:
    """Return, raise, or take the child process down."""
    chance = _chance()
    if chance < 0.3:
        os._exit(3)
    if chance < 0.5:
        raise RuntimeError("by chance")


def fail_twice(tries: str) -> int:
    """Fail in the first two attempts, which are counted in a file."""
    with Path(tries).open("a+b") as file:
        file.write(b".")
        file.flush()
        count = file.tell()
    if count < 3:
        raise RuntimeError(f"attempt {count}")
    return count


def limit_files(count: int) -> None:
    """Let this process have so many files open at most, from here on."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def lack(name: str) -> None:
    """Raise what Python raises when something is missing: a file descriptor, or memory."""
    raise OSError(errno.EMFILE, "Too many open files") if name == "OSError" else MemoryError("too much")
