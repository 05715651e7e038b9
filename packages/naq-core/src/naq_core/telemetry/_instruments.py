"""The metrics of the semantic conventions for messaging."""

from collections import Counter
from collections.abc import Sequence

from opentelemetry.metrics import Meter

from naq_core.context import JobContext
from naq_core.middleware import Enqueue

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds, as the conventions advise."""
LONG_BUCKETS = (*BUCKETS, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""For attempts, which may take longer than the handling of a message."""
SYSTEM = {"messaging.system": "nats"}


class Instruments:
    """Counts and durations, by what has few values: queue, task, outcome, type of error."""

    def __init__(self, meter: Meter) -> None:
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Jobs that were enqueued.")
        self._consumed = meter.create_counter("messaging.client.consumed.messages", "{message}", "Attempts that were made.")
        self._operation = meter.create_histogram(
            "messaging.client.operation.duration", "s", "Duration of enqueues.", explicit_bucket_boundaries_advisory=BUCKETS
        )
        self._process = meter.create_histogram(
            "messaging.process.duration", "s", "Duration of attempts.", explicit_bucket_boundaries_advisory=LONG_BUCKETS
        )

    def enqueued(self, operation: str, jobs: Sequence[Enqueue], seconds: float, failure: str) -> None:
        """Measure one enqueue.

        Args:
            failure: The type of its error; empty without one.
        """
        what = {**SYSTEM, "messaging.operation.name": operation}
        if failure:
            what["error.type"] = failure
        counts = Counter(job.queue for job in jobs)
        only = {"messaging.destination.name": jobs[0].queue} if len(counts) == 1 else {}
        self._operation.record(seconds, {**what, **only, "messaging.operation.type": "send"})
        for queue, count in counts.items():
            self._sent.add(count, {**what, "messaging.destination.name": queue})

    def processed(self, job: JobContext, seconds: float, outcome: str, failure: str) -> None:
        """Measure one attempt."""
        what = {
            **SYSTEM,
            "messaging.operation.name": "process",
            "messaging.destination.name": job.queue,
            "naq.task.name": job.function,
        }
        if failure:
            what["error.type"] = failure
        self._consumed.add(1, what)
        self._process.record(seconds, {**what, "naq.job.outcome": outcome})
