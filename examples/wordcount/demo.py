"""Count the words of a folder's text and source files with NAQ.

The demo starts a NATS server in a temporary folder and a worker process, enqueues one job per file and one that adds
up the counts, prints the most frequent words, and stops what it started. Ctrl-C stops it at any time.

    python examples/wordcount/demo.py [FOLDER ...] [--top 15]
"""

# ruff: noqa: E402 - the imports take a moment, in which Ctrl-C should not print a traceback either
import os
import signal

signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # until there is something to stop

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tasks

from naq_client import Job, Queue
from naq_core import JobFailedError
from naq_core.server import EmbeddedServer, tie_to_this_process
from naq_core.starting import run_process

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
SUFFIXES = re.compile(
    r"\.(bash|c|cfg|conf|cpp|css|csv|go|h|html|ini|java|js|json|md|php|py|rb|rs|rst|sh|sql|tex|toml|ts|txt|xml|ya?ml)",
    re.IGNORECASE,
)
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "build", "dist"})
LARGEST = 256 * 1024  # bytes: the counts of a file have to fit into one NATS message


def text_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Find the text and source files, without hidden folders and build results."""
    for top in folders:
        for folder, names, files in os.walk(top):
            names[:] = sorted(name for name in names if not name.startswith(".") and name not in SKIPPED_FOLDERS)
            for name in sorted(files):
                path = Path(folder, name)
                if SUFFIXES.fullmatch(path.suffix) and path.is_file() and path.stat().st_size <= LARGEST:
                    yield path.resolve()


@contextmanager
def worker(url: str) -> Iterator[None]:
    """Run a worker process; stop it at the end."""
    command = [sys.executable, "-m", "naq_worker", "wordcount", "--nats-url", url, "--log-level", "WARNING"]
    # The worker imports `tasks` from its current folder. In its own session it does not receive the terminal's Ctrl-C,
    # so the order is always the same: first the worker stops, then the server.
    process = subprocess.Popen(
        [*tie_to_this_process(), *command],
        cwd=HERE,
        env={**os.environ, "NAQ_NATS_URL": url, "NAQ_SHUTDOWN_GRACE": "2"},
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Interruption:
    """Ctrl-C, SIGTERM or a closed terminal: cancels what runs in the event loop, so that everything is stopped in order.

    Signals that arrive while something starts or stops wait until that is done.
    """

    def __init__(self) -> None:
        self.happened = False
        self._task: asyncio.Task[None] | None = None
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._on_signal)

    def _on_signal(self, *_: object) -> None:
        if not self.happened and self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        self.happened = True

    async def stops(self, work: Coroutine[Any, Any, None]) -> None:
        """Await work until it is done or a signal arrives."""
        self._task = asyncio.create_task(work)
        if self.happened:
            self._task.cancel()
        try:
            await asyncio.wait([self._task])
            if not self.happened:
                self._task.result()
        finally:
            self._task = None


class Progress:
    """A progress line, redrawn in place if the output is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._shown = 0.0

    def step(self) -> None:
        """Count one file."""
        self._done += 1
        last = self._done == self._total
        if (sys.stdout.isatty() and time.monotonic() - self._shown > 0.05) or last:
            self._shown = time.monotonic()
            width = 30 * self._done // self._total
            start = "\r" if sys.stdout.isatty() else ""
            end = "\n" if last else ""
            print(f"{start}  {'█' * width:░<30} {self._done:,} of {self._total:,} files", end=end, flush=True)


async def count(url: str, paths: list[Path], top: int) -> None:
    """Enqueue the jobs, follow them, print the table."""
    async with Queue("wordcount", url) as queue:
        began = time.perf_counter()
        many = await queue.enqueue_many(queue.call(tasks.count_words, str(path)) for path in paths)
        print(f"  enqueued {len(many):,} jobs in {time.perf_counter() - began:.3f} s")
        counted = await follow(many)
        adding = await queue.enqueue(tasks.add_up, counted)
        words = await adding.result(timeout=120)
        took = time.perf_counter() - began
    total = words.pop("")
    print(f"  {total:,} words in {len(counted):,} {'file' if len(counted) == 1 else 'files'} after {took:.2f} s\n")
    show(list(words.items())[:top])


async def follow(jobs: list[Job[Any]]) -> list[str]:
    """Wait for all files; return the ids of the jobs that succeeded."""
    progress = Progress(len(jobs))
    counted: list[str] = []

    async def wait(job: Job[Any]) -> None:
        try:
            await job.result()
        except JobFailedError as error:
            print(f"\n  not counted: {error}", file=sys.stderr)
        else:
            counted.append(job.job_id)
        progress.step()

    await asyncio.gather(*(wait(job) for job in jobs))
    return counted


def show(words: list[tuple[str, int]]) -> None:
    """Print the table."""
    longest = max((len(word) for word, _ in words), default=0)
    for place, (word, times) in enumerate(words, 1):
        bar = "▇" * max(1, 40 * times // words[0][1])
        print(f"  {place:>3}  {word:<{longest}}  {times:>7,}  {bar}")


def main() -> int:
    """Run the demo.

    Returns:
        The exit code: 0 done, 2 nothing to count, 130 interrupted.
    """
    parser = argparse.ArgumentParser(description="Count words with NAQ.")
    default = [REPOSITORY / "docs", REPOSITORY / "packages"]
    parser.add_argument("folders", nargs="*", type=Path, default=default, help="default: NAQ's own docs and packages")
    parser.add_argument("--top", type=int, default=15, help="rows of the table")
    given = parser.parse_args()
    print("Looking for text files in", *given.folders, flush=True)
    paths = list(text_files(given.folders))
    if not paths:
        print("no text files found", file=sys.stderr)
        return 2
    interruption = Interruption()
    with EmbeddedServer() as server, worker(server.url):
        print(f"Counting the words of {len(paths):,} files with one worker and a NATS server at {server.url}", flush=True)
        asyncio.run(interruption.stops(count(server.url, paths, given.top)))
    if interruption.happened:
        print("\ninterrupted; everything is stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    run_process(main)
