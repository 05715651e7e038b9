"""Functions for jobs in child processes: what they start, keep, and say."""

import asyncio
import atexit
import contextlib
import contextvars
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from naq_core import current_job

log = logging.getLogger("shop")
PROGRAM = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()) + '\\n'); time.sleep(600)"


class Kept:
    """What one process keeps from job to job."""

    house = "not moved in"
    client: "asyncio.Queue[int] | None" = None
    pulse: "asyncio.Task[None] | None" = None
    beats = 0


def move_in() -> None:
    """Be a start-up hook."""
    Kept.house = "moved in"


async def move_in_later() -> None:
    """Be an async one, which keeps something of the event loop."""
    await asyncio.sleep(0)
    Kept.client = asyncio.Queue()
    move_in()


def break_down_in_a_child() -> None:
    """Be a hook that fails in child processes only."""
    if "_executors" in sys.argv[0]:
        raise RuntimeError("no room for a child")


def where() -> str:
    """Return what the start-up hook has left."""
    return Kept.house


async def use_the_client() -> int:
    """Use what belongs to the event loop of the first job."""
    if Kept.client is None:
        Kept.client = asyncio.Queue()
    if Kept.pulse is None:
        Kept.pulse = asyncio.get_running_loop().create_task(beat())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(Kept.client.get(), 0.01)
    return id(asyncio.get_running_loop())


async def beat() -> None:
    """Live on after the job, as the reader of a connection does."""
    while True:
        await asyncio.sleep(0.001)
        Kept.beats += 1


def count_beats() -> int:
    """Return how often `beat` has come around."""
    return Kept.beats


async def stop_the_loop() -> None:
    """Stop the event loop under the job."""
    asyncio.get_running_loop().stop()
    await asyncio.sleep(60)


def return_a_coroutine() -> Any:
    """Be plain, but return what has to be awaited."""
    return use_the_client()


def _square(number: int) -> int:
    return number * number


def _be_busy(descriptor: int) -> None:
    os.write(descriptor, b".")
    time.sleep(600)


def terminate(how: str) -> int | str | list[int]:
    """Start a process and end it in the ways of the standard library; return how it ended."""
    if how == "popen":
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        return process.wait()
    if how == "fork":
        child = os.fork()
        if child == 0:
            time.sleep(600)
        os.kill(child, signal.SIGTERM)
        return -os.WTERMSIG(os.waitpid(child, 0)[1])
    reading, writing = os.pipe()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        squares = pool.map(_square, range(3))
        pool.apply_async(_be_busy, [writing])
        os.read(reading, 1)
        return squares


def fork_and_wait(path: str, how: str) -> None:
    """Start a program that outlives everything but a kill, write down its process id, and wait.

    Args:
        how: `group`: in this group. `session`: in a session of its own. `orphan`: that, and its parent has ended.
    """
    program = [
        sys.executable,
        "-c",
        "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()) + '\\n'); time.sleep(600)",
    ]
    if how == "orphan":
        code = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
        subprocess.run([sys.executable, "-c", code, *program, path], check=True)
        time.sleep(600)
    subprocess.Popen([*program, path], start_new_session=how == "session").wait()


def die(path: str, how: str) -> None:
    """Do the same and end by a signal as soon as the program runs."""
    if os.fork() == 0:
        fork_and_wait(path, how)
    while not (Path(path).exists() and Path(path).read_text().endswith("\n")):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def speak(text: str) -> None:
    """Log at several levels, with an error and a value of its own."""
    log.debug("hushed %s", text)
    try:
        int("of the job")
    except ValueError:
        log.exception("said %s", text, extra={"order": 7})


def leave_a_reporter() -> int:
    """Leave a thread behind that reports progress and logs, as if the job still ran."""
    job = current_job()

    def later() -> None:
        while True:
            job.progress(1, 1, "of another job")
            log.error("of another job")
            time.sleep(0.001)

    threading.Thread(target=contextvars.copy_context().run, args=(later,), daemon=True).start()
    return os.getpid()


def wait_for(path: str, begun: str = "") -> int:
    """Wait until a file exists; write down that it has begun."""
    if begun:
        Path(begun).touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return os.getpid()


async def nothing() -> str:
    """Return at once."""
    return "done"


def note_its_exit(path: str) -> None:
    """Have an exit function, as exporters of telemetry do; and a thread that goes on, for which an interpreter would wait."""
    atexit.register(lambda: Path(path).write_text("left", encoding="utf-8"))
    threading.Thread(target=threading.Event().wait).start()
