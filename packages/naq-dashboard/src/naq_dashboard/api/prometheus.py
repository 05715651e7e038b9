"""What `/metrics` says, as families of prometheus-client; `docs/monitoring.md` has the table."""

import platform
from collections import Counter as Sums
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from naq_core import __version__
from naq_core.metrics import COUNTED_BOUNDS, OUTCOMES, Counter
from naq_core.views import Problem, QueueView

__all__ = ["Facts", "encode"]

TASK = ("queue", "task")
COUNTERS = (
    ("enqueued", "naq_jobs_enqueued", "Jobs that were enqueued, including delayed ones."),
    ("started", "naq_jobs_started", "Started attempts."),
    ("redelivered", "naq_jobs_redelivered", "Redeliveries of jobs whose worker died or whose acknowledgement was lost."),
    ("fired", "naq_scheduler_fired", "Jobs enqueued by schedules."),
    ("missed", "naq_scheduler_missed", "Scheduled runs that were missed and not enqueued, by misfire policy."),
)
HISTOGRAMS = (
    ("run", "naq_job_duration_seconds", "Run time of attempts."),
    ("wait", "naq_job_wait_seconds", "Time that jobs waited for a worker after they became ready."),
)
STATES: tuple[tuple[str, Callable[[QueueView], int]], ...] = (
    ("queued", lambda each: each.queued),
    ("running", lambda each: each.running),
    ("held", lambda each: each.held),
    ("dead", lambda each: each.dead),
)


@dataclass(frozen=True, kw_only=True)
class Facts(Collector):
    """What was read for one answer."""

    now: float
    """The server's time."""
    counters: Mapping[Counter, int]
    queues: Sequence[QueueView]
    workers: Sequence[Mapping[str, Any]]
    schedules: int
    has_leader: bool
    reconnects: int
    """Of the dashboard's own connection."""
    streams: int
    """Open streams of live pages."""
    problems: Sequence[Problem]

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        yield from self._counters()
        yield from self._histograms()
        yield from self._queues()
        yield from self._workers()
        yield _gauge("naq_scheduler_leader", "Whether a scheduler is the leader.", int(self.has_leader))
        yield _gauge("naq_scheduler_schedules", "Recurring schedules, including paused ones.", self.schedules)
        yield _gauge("naq_dashboard_streams", "Open streams of live pages.", self.streams)
        needed = [((each.kind, each.subject, each.name, each.severity), 1) for each in self.problems]
        labels = ("kind", "subject", "name", "severity")
        yield _labelled("naq_attention", "What needs attention, as on the dashboard's overview.", labels, needed)
        build = {"version": __version__, "python": platform.python_version()}
        yield _labelled("naq_build_info", "The dashboard's versions.", tuple(build), [(tuple(build.values()), 1)])

    def _counters(self) -> Iterator[Metric]:
        families = {kind: CounterMetricFamily(name, text, labels=TASK) for kind, name, text in COUNTERS}
        for each, value in sorted(self.counters.items()):
            if each.kind in families:
                families[each.kind].add_metric((each.queue, each.function), value)
        yield from families.values()
        finished = CounterMetricFamily(
            "naq_jobs_finished", "Finished attempts by outcome, and jobs cancelled before an attempt.", labels=(*TASK, "outcome")
        )
        for queue, function in sorted({each[:2] for each in self.counters if each.kind in {"started", *OUTCOMES}}):
            for outcome in OUTCOMES:  # also those that are 0: a rate needs a first value
                value = self.counters.get(Counter(queue, function, outcome), 0)
                finished.add_metric((queue, function, outcome), value)
        yield finished

    def _histograms(self) -> Iterator[Metric]:
        for kind, name, text in HISTOGRAMS:
            family = HistogramMetricFamily(name, text, labels=TASK)
            for queue, function in sorted({each[:2] for each in self.counters if each.kind.startswith(f"{kind}-")}):
                buckets, total = [], 0
                for label, token in _bounds():
                    total += self.counters.get(Counter(queue, function, f"{kind}-{token}"), 0)
                    buckets.append((label, total))
                microseconds = self.counters.get(Counter(queue, function, f"{kind}-sum"), 0)
                family.add_metric((queue, function), buckets, microseconds / 1e6)
            yield family

    def _queues(self) -> Iterator[Metric]:
        now, queue = self.now, ("queue",)
        depths = [((each.queue, state), count(each)) for each in self.queues for state, count in STATES]
        yield _labelled("naq_queue_depth", "Jobs of a queue by state.", ("queue", "state"), depths)
        waiting = [((each.queue,), each.waiting_for_key) for each in self.queues]
        yield _labelled("naq_queue_waiting_for_key", "Held jobs that wait for their key.", queue, waiting)
        ages = [((each.queue,), _age(each, now)) for each in self.queues]
        yield _labelled("naq_queue_oldest_job_age_seconds", "Age of the oldest queued job.", queue, ages)
        pauses = [((each.queue,), int(each.paused)) for each in self.queues]
        yield _labelled("naq_queue_paused", "Whether the queue is paused.", queue, pauses)
        workers = [((each.queue,), each.workers) for each in self.queues]
        yield _labelled("naq_queue_workers", "Running workers of the queue.", queue, workers)
        running = Sums({each.queue: 0 for each in self.queues})
        for worker in self.workers:
            running.update(worker.get("in_progress", {}))
        in_progress = [((name,), count) for name, count in sorted(running.items())]
        yield _labelled("naq_jobs_in_progress", "Running jobs, according to the workers' last heartbeats.", queue, in_progress)

    def _workers(self) -> Iterator[Metric]:
        alive = [each for each in self.workers if "unreadable" not in each]
        yield _gauge("naq_workers", "Running workers.", len(alive))
        for name, text, key in (
            ("naq_worker_slots", "How many jobs the worker runs at a time.", "concurrency"),
            ("naq_worker_last_heartbeat_timestamp_seconds", "Time of the worker's last heartbeat.", "at"),
        ):
            values = [((each["worker_id"],), each.get(key, 0)) for each in alive]
            yield _labelled(name, text, ("worker",), values)
        reconnects = CounterMetricFamily("naq_nats_reconnects", "Reconnections to NATS.", labels=("client",))
        reconnects.add_metric(("dashboard",), self.reconnects)
        for each in alive:
            reconnects.add_metric((each["worker_id"],), each.get("reconnects", 0))
        yield reconnects


def encode(facts: Facts, accept: str) -> tuple[bytes, str]:
    """Return the answer and its media type: Prometheus' text format, or OpenMetrics where `accept` asks for it."""
    try:
        encoder, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # it takes every version for a number
        encoder, media_type = choose_encoder("")
    return encoder(facts), media_type


def _bounds() -> Iterator[tuple[str, str]]:
    """Yield the upper bounds of buckets, as labels and as tokens of their counters."""
    yield from ((str(bound), str(round(bound * 1000))) for bound in COUNTED_BOUNDS)
    yield "+Inf", "inf"


def _age(queue: QueueView, now: float) -> float:
    return max(0.0, now - queue.oldest_at.timestamp()) if queue.oldest_at is not None and queue.queued else 0.0


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family
