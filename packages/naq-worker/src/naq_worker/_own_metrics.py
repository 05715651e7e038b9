"""What one worker process has counted itself, as text for Prometheus; the dashboard has the sums of all workers."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeAlias

import msgspec

from naq_core.decoding import Decoder
from naq_core.exposition import build_info, family, histogram
from naq_core.metrics import BOUNDS, COUNTED_BOUNDS, OUTCOMES, Figures

PATIENCE = 0.5
"""Seconds to wait for a blocked event loop, before the last known figures are told."""

Labelled: TypeAlias = tuple[dict[str, str], "WorkerFigures"]


class WorkerFigures(msgspec.Struct, omit_defaults=True):
    """The figures of one worker process since its start."""

    rows: list[Figures] = []
    in_progress: dict[str, int] = {}
    """How many jobs of each queue run."""
    slots: int = 0
    takes_jobs: bool = False
    reconnects: int = 0
    rss: int = 0
    """Bytes of resident memory; 0 where it cannot be known."""
    started_at: float = 0.0


encode_figures = msgspec.json.Encoder().encode
decode_figures = Decoder("the figures of a worker process", WorkerFigures).decode


class Counting(Protocol):
    """The worker whose figures they are."""

    def figures(self) -> WorkerFigures: ...


class FigureReader:
    """Reads the figures of a worker from other threads; to be made in its event loop."""

    def __init__(self, worker: Counting) -> None:
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._last = WorkerFigures()

    def read(self) -> "Future[WorkerFigures]":
        """Return the figures as a future; while the event loop is blocked, those that were read last."""
        found: Future[WorkerFigures] = Future()

        def take() -> None:
            self._last = self._worker.figures()
            if found.set_running_or_notify_cancel():
                found.set_result(self._last)

        try:
            self._loop.call_soon_threadsafe(take)
        except RuntimeError:  # the worker has ended
            found.set_result(self._last)
        return found

    def wait(self) -> WorkerFigures:
        """Return the figures; not to be called from the worker's event loop."""
        try:
            return self.read().result(PATIENCE)
        except TimeoutError:
            return self._last


def as_text(workers: Sequence[Labelled]) -> str:
    """Return the figures of one or several processes as text.

    Args:
        workers: The labels that tell them apart, and their figures.
    """
    return "\n".join([*_counters(workers), *_histograms(workers), *_gauges(workers), *build_info()]) + "\n"


def _rows(workers: Sequence[Labelled]) -> Iterator[tuple[dict[str, str], Figures]]:
    for labels, figures in workers:
        for row in figures.rows:
            yield {"queue": row.queue, "task": row.function, **labels}, row


def _counters(workers: Sequence[Labelled]) -> Iterator[str]:
    rows = list(_rows(workers))
    yield from family("naq_jobs_started_total", "counter", "Started attempts.", [(labels, row.started) for labels, row in rows])
    finished = [({**labels, "outcome": name}, getattr(row, name)) for labels, row in rows for name in OUTCOMES]
    yield from family("naq_jobs_finished_total", "counter", "Finished attempts by outcome.", finished)
    reconnects = [(labels, figures.reconnects) for labels, figures in workers]
    yield from family("naq_nats_reconnects_total", "counter", "Reconnections to NATS.", reconnects)


def _histograms(workers: Sequence[Labelled]) -> Iterator[str]:
    rows = list(_rows(workers))
    runs = [(labels, _counted(row.run), row.run_sum) for labels, row in rows]
    yield from histogram("naq_job_duration_seconds", "Run time of attempts.", COUNTED_BOUNDS, runs)
    waits = [(labels, _counted(row.wait), row.wait_sum) for labels, row in rows]
    about = "Time that jobs waited for a worker after they became ready."
    yield from histogram("naq_job_wait_seconds", about, COUNTED_BOUNDS, waits)


def _counted(classes: Mapping[int, int]) -> list[int]:
    """Return how many durations are in each of the coarser classes."""
    counts = [0] * (len(COUNTED_BOUNDS) + 1)
    for place, count in classes.items():
        counts[bisect_left(COUNTED_BOUNDS, BOUNDS[place]) if place < len(BOUNDS) else -1] += count
    return counts


def _gauges(workers: Sequence[Labelled]) -> Iterator[str]:
    def gauge(name: str, about: str, values: Iterable[tuple[dict[str, str], float]]) -> Iterator[str]:
        return family(name, "gauge", about, values)

    running = [({"queue": queue, **labels}, count) for labels, each in workers for queue, count in each.in_progress.items()]
    yield from gauge("naq_jobs_in_progress", "Running jobs.", running)
    yield from gauge("naq_worker_slots", "How many jobs the process runs at a time.", [(a, each.slots) for a, each in workers])
    ready = [(labels, int(each.takes_jobs)) for labels, each in workers]
    yield from gauge("naq_worker_ready", "Whether the process takes jobs.", ready)
    memory = [(labels, each.rss) for labels, each in workers if each.rss]
    yield from gauge("process_resident_memory_bytes", "Resident memory of the process.", memory)
    begun = [(labels, each.started_at) for labels, each in workers if each.started_at]
    yield from gauge("naq_worker_start_time_seconds", "When the worker started.", begun)
