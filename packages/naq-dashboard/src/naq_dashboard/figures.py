"""Figures over time for charts and for Prometheus: read from the stream once, then only what is new."""

import asyncio

from naq_core.metrics import BOUNDS, LEVELS, Figures, Level, Series, SeriesReader, level_of
from naq_core.views import QueueView
from naq_dashboard.broker import Broker

__all__ = ["FigureBoard", "prometheus_text"]

FRESH = 2.0
"""Seconds between two looks at what workers have stored; they store every ten."""

WANTED_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)


class FigureBoard:
    """Keeps what was read of the figures, for all pages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reader = SeriesReader()
        self._read_at: dict[int, float] = {}
        self._lock = asyncio.Lock()
        self.reads = 0
        """Grows with each read that may have found something new."""

    async def series(self, hours: float, queue: str = "", function: str = "") -> Series:
        """Return figures over time.

        Raises:
            ConfigurationError: `hours` is out of range.
            BrokerError: The server does not answer.
        """
        level = level_of(hours)
        await self._refresh(level)
        return self._reader.series(level, hours, queue, function)

    async def totals(self) -> list[Figures]:
        """Return the sums of all that was ever read, by queue and function."""
        await self._refresh(LEVELS[-1])
        return [self._reader.totals[key] for key in sorted(self._reader.totals)]

    async def _refresh(self, level: Level) -> None:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._read_at.get(level.step, -FRESH) < FRESH:
                return
            await self._reader.refresh(await self._broker.connection(), level)
            self._read_at[level.step] = now
            self.reads += 1


def prometheus_text(totals: list[Figures], queues: list[QueueView], workers: int, version: str, streams: int) -> str:
    """Return the figures in Prometheus' text format."""
    lines = [*_finished(totals), *_histogram("naq_job_duration_seconds", "How long attempts ran.", totals, "run")]
    lines += _histogram("naq_job_wait_seconds", "How long jobs waited for their first attempt.", totals, "wait")
    lines += ["# HELP naq_queue_depth Jobs of a queue by where they are.", "# TYPE naq_queue_depth gauge"]
    for each in queues:
        for state, count in (("waiting", each.waiting), ("running", each.running), ("held", each.held), ("dead", each.dead)):
            lines.append(f"naq_queue_depth{_labels(queue=each.queue, state=state)} {count}")
    lines += ["# HELP naq_queue_oldest_job_timestamp_seconds When the oldest waiting job was stored."]
    lines += ["# TYPE naq_queue_oldest_job_timestamp_seconds gauge"]
    lines += [
        f"naq_queue_oldest_job_timestamp_seconds{_labels(queue=each.queue)} {each.oldest_at.timestamp():.3f}"
        for each in queues
        if each.oldest_at is not None and each.waiting
    ]
    lines += ["# HELP naq_queue_paused Whether the queue is paused.", "# TYPE naq_queue_paused gauge"]
    lines += [f"naq_queue_paused{_labels(queue=each.queue)} {int(each.paused)}" for each in queues]
    lines += ["# HELP naq_queue_redelivered Unsettled jobs that were delivered more than once."]
    lines += ["# TYPE naq_queue_redelivered gauge"]
    lines += [f"naq_queue_redelivered{_labels(queue=each.queue)} {each.redelivered}" for each in queues]
    lines += ["# HELP naq_workers Workers that live.", "# TYPE naq_workers gauge", f"naq_workers {workers}"]
    lines += ["# HELP naq_dashboard_streams Open live pages.", "# TYPE naq_dashboard_streams gauge"]
    lines += [f"naq_dashboard_streams {streams}"]
    lines += ["# HELP naq_build_info The version.", "# TYPE naq_build_info gauge", f"naq_build_info{_labels(version=version)} 1"]
    return "\n".join(lines) + "\n"


def _finished(totals: list[Figures]) -> list[str]:
    lines = ["# HELP naq_jobs_finished_total Attempts by what they came to.", "# TYPE naq_jobs_finished_total counter"]
    for row in totals:
        for outcome, count in (
            ("succeeded", row.succeeded),
            ("failed", row.failed),
            ("retried", row.retried),
            ("cancelled", row.cancelled),
        ):
            labels = _labels(queue=row.queue, task=row.function, outcome=outcome)
            lines.append(f"naq_jobs_finished_total{labels} {count}")
    return lines


def _histogram(name: str, text: str, totals: list[Figures], field: str) -> list[str]:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
    for row in totals:
        counts: dict[int, int] = getattr(row, field)
        places = {bound: BOUNDS.index(bound) for bound in WANTED_BOUNDS}
        for bound, last in places.items():
            below = sum(count for place, count in counts.items() if place <= last)
            lines.append(f"{name}_bucket{_labels(queue=row.queue, task=row.function, le=f'{bound:g}')} {below}")
        total = sum(counts.values())
        labels = _labels(queue=row.queue, task=row.function)
        lines.append(f"{name}_bucket{_labels(queue=row.queue, task=row.function, le='+Inf')} {total}")
        lines.append(f"{name}_sum{labels} {max(0.0, getattr(row, f'{field}_sum')):.6f}")
        lines.append(f"{name}_count{labels} {total}")
    return lines


def _labels(**labels: str) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"
