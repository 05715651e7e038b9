"""`python -m tests.benchmarks.peers.measure PEER MEASURE JOBS`: one measurement of one queue, printed as JSON.

The environment says the rest: `PEERS_URL`, `PEERS_RESULTS` (on or off), `PEERS_MEASURE`, `PEERS_SERVER_PID`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from naq_cli.bench.jobs import SLEEP_SECONDS
from naq_cli.bench.stamps import VARIABLE, Stamps
from naq_core.server import tie_to_this_process
from tests.benchmarks.peers.peer import CONCURRENCY, TWICE, Peer

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 120.0
"""Seconds for the jobs of a measurement."""
STOP_SECONDS = 10.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its living children; 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


class Measurement:
    """The client's side of a measurement."""

    def __init__(self, peer: Peer, folder: Path, jobs: int) -> None:
        self._peer = peer
        self._folder = folder
        self._jobs = jobs
        self._stamps = Stamps.create(folder / "stamps", jobs + 1)  # one for the job that warms the client up
        self._server = int(os.environ["PEERS_SERVER_PID"])

    @contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[bytes]]:
        variables = {**os.environ, "PEERS_ROLE": "worker", VARIABLE: str(self._folder / "stamps"), "PYTHONPATH": str(ROOT)}
        with (self._folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*tie_to_this_process(), *self._peer.worker()],
                cwd=ROOT,
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()

    async def _until(self, worker: subprocess.Popen[bytes], jobs: int) -> None:
        deadline = time.monotonic() + LIMIT
        while self._stamps.count() < jobs:
            if worker.poll() is not None or time.monotonic() > deadline:
                log = (self._folder / "log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{self._stamps.count()} of {jobs} jobs ran; the worker ({worker.poll()}) said:\n{log}")
            await asyncio.sleep(0.02)

    async def enqueue(self) -> dict[str, float]:
        await self._peer.enqueue("noop", self._jobs)
        since = time.perf_counter()
        for slot in range(self._jobs):
            await self._peer.enqueue("noop", slot)
        return {"enqueue, each awaited": self._jobs / (time.perf_counter() - since)}

    async def bulk(self) -> dict[str, float]:
        await self._peer.enqueue("noop", self._jobs)
        since = time.perf_counter()
        await self._peer.enqueue_many("noop", range(self._jobs))
        return {"enqueue, the fastest way": self._jobs / (time.perf_counter() - since)}

    async def drain(self) -> dict[str, float]:
        rate, worker, server = await self._drained("noop")
        return {"drain, results kept": rate, "worker CPU of a job": worker, "server CPU of a job": server}

    async def drain_off(self) -> dict[str, float]:
        return {"drain, no results": (await self._drained("noop"))[0]}

    async def sleep(self) -> dict[str, float]:
        return {"sleep(0.05), 100 at a time, of ideal": (await self._drained("sleep"))[0] * SLEEP_SECONDS / CONCURRENCY}

    async def _drained(self, task: str) -> tuple[float, float, float]:
        """Return jobs per second, and the worker's and the server's CPU microseconds of a job; the worker's with its start."""
        await self._peer.enqueue_many(task, range(self._jobs + 1))
        before = cpu_seconds(self._server)
        with self._worker() as worker:
            await self._until(worker, self._jobs + 1)
            micro = 1e6 / (self._jobs + 1)
            cpu = cpu_seconds(worker.pid) * micro, (cpu_seconds(self._server) - before) * micro
        if self._stamps.extra_runs():
            sys.stderr.write(f"{self._stamps.extra_runs()} {TWICE}\n")
        return self._stamps.rate(), *cpu

    async def latency(self) -> dict[str, float]:
        trips, pickups = [], []
        with self._worker() as worker:
            await self._peer.enqueue("noop", self._jobs)
            await self._until(worker, 1)
            for slot in range(self._jobs):
                await asyncio.sleep(random.random() * 0.01)  # not in step with a loop that polls
                since = time.monotonic()
                result = await self._peer.wait(await self._peer.enqueue("noop", slot))
                trips.append((time.monotonic() - since) * 1e3)
                pickups.append((self._stamps.start[slot] - since) * 1e3)
                assert result == slot, f"{result!r} is not the result of {slot}"
        cuts = statistics.quantiles(trips, n=100)
        return {"round trip, p50": cuts[49], "round trip, p99": cuts[98], "pickup, p50": statistics.median(pickups)}


async def measure(name: str, what: str, jobs: int) -> dict[str, float]:
    """Measure one thing; return its figures by their names."""
    peer: Peer = importlib.import_module(f"tests.benchmarks.peers.adapters.{name}").Adapter()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        measurement = Measurement(peer, Path(folder), min(jobs, peer.most))
        await peer.open()
        try:
            figures: dict[str, float] = await getattr(measurement, what)()
        finally:
            await peer.close()
        return figures


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
