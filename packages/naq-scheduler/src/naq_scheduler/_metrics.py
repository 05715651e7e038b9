"""What the scheduler counts, in the text form of Prometheus."""

from bisect import bisect_left

from naq_core.exposition import build_info, escaped

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

_LABELLED = frozenset({"naq_scheduler_fired_total", "naq_scheduler_missed_total", "naq_scheduler_swept_total"})
_HELP = {
    "naq_scheduler_fired_total": "Jobs enqueued by schedules.",
    "naq_scheduler_missed_total": "Scheduled runs that were missed and not enqueued, by misfire policy.",
    "naq_scheduler_skipped_total": "Scheduled runs skipped because the previous run had not ended.",
    "naq_scheduler_failed_total": "Scheduled runs that failed to enqueue and will be retried.",
    "naq_scheduler_leadership_changes_total": "Changes of leadership of this instance.",
    "naq_scheduler_swept_total": "Repairs made after crashes.",
    "naq_nats_reconnects_total": "Reconnections to NATS.",
}


class SchedulerMetrics:
    """Counters of one scheduler."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], float] = {(name, ""): 0 for name in _HELP if name not in _LABELLED}
        self._late = [0] * (len(BUCKETS) + 1)
        self._late_sum = 0.0

    def add(self, name: str, amount: float = 1, labels: str = "") -> None:
        """Add to a counter, such as `fired`; `labels` in Prometheus's form, such as `sweep="expired"`."""
        key = (f"naq_scheduler_{name}_total", labels)
        self._counts[key] = self._counts.get(key, 0) + amount

    def add_of(self, name: str, amount: float, queue: str, task: str) -> None:
        """Add to a counter that a queue's function has of its own."""
        self.add(name, amount, f'queue="{escaped(queue)}",task="{escaped(task)}"')

    def count(self, name: str) -> float:
        """Return a counter's value."""
        wanted = f"naq_scheduler_{name}_total"
        return sum(value for (each, _), value in self._counts.items() if each == wanted)

    def lateness(self, seconds: float) -> None:
        """Note how late a firing was."""
        self._late[bisect_left(BUCKETS, seconds)] += 1
        self._late_sum += seconds

    def text(self, *, reconnects: int = 0, **gauges: float) -> str:
        """Return everything; `gauges` are named without `naq_`."""
        lines: list[str] = []
        self._counts["naq_nats_reconnects_total", ""] = reconnects
        for name, about in _HELP.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} counter"]
            for (each, labels), value in self._counts.items():
                if each == name:
                    lines.append(f"{name}{{{labels}}} {value:g}" if labels else f"{name} {value:g}")
        lines += self._histogram("naq_scheduler_lateness_seconds")
        for name, value in gauges.items():
            lines += [f"# TYPE naq_{name} gauge", f"naq_{name} {value:g}"]
        return "\n".join([*lines, *build_info()]) + "\n"

    def _histogram(self, name: str) -> list[str]:
        lines = [f"# HELP {name} Delay between a run's due time and its enqueue.", f"# TYPE {name} histogram"]
        total = 0
        for limit, number in zip((*BUCKETS, "+Inf"), self._late, strict=True):
            total += number
            lines.append(f'{name}_bucket{{le="{limit}"}} {total}')
        return [*lines, f"{name}_sum {self._late_sum:g}", f"{name}_count {total}"]
