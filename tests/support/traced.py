"""Jobs and middleware for tests of telemetry; child processes import it by name."""

import asyncio
import json
import os
import threading
from pathlib import Path

from opentelemetry import baggage, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from naq_core import Cancel, Retry, Snooze, current_job
from naq_core.telemetry.otel import OpenTelemetry


class Recorded:
    """Middleware with what it has sent."""

    def __init__(self, *, parent: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider([self._reader])
        self.middleware = OpenTelemetry(parent=parent, tracer_provider=self.tracers, meter_provider=meters)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def points(self, name: str) -> list[tuple[dict[str, object], float]]:
        """Return labels and count of each series of a metric."""
        data = self._reader.get_metrics_data()
        found: list[tuple[dict[str, object], float]] = []
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found += [(dict(each.attributes or {}), _number(each)) for each in metric.data.data_points]
        return found


def _number(point: object) -> float:
    """Return the value of a counter's point, or how many values a histogram's has."""
    return float(getattr(point, "count", getattr(point, "value", 0)))


class _ToFile(SpanExporter):
    """Appends spans to the file that a variable names."""

    def export(self, spans: object) -> SpanExportResult:
        with Path(os.environ["NAQ_TEST_SPANS"]).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(json.loads(span.to_json())) + "\n" for span in spans)  # type: ignore[attr-defined]
        return SpanExportResult.SUCCESS


_to_file = TracerProvider()
_to_file.add_span_processor(SimpleSpanProcessor(_ToFile()))
to_file = OpenTelemetry(tracer_provider=_to_file)
"""Middleware of child processes, which import it."""


def _here() -> list[str]:
    """Return trace and span of the code that runs, and the baggage `tenant`."""
    found = trace.get_current_span().get_span_context()
    return [f"{found.trace_id:032x}", f"{found.span_id:016x}", str(baggage.get_baggage("tenant"))]


async def here() -> list[str]:
    await asyncio.sleep(0)
    return _here()


def here_in_a_thread() -> list[str]:
    assert threading.current_thread() is not threading.main_thread()
    return _here()


def here_in_a_process() -> list[str]:
    return _here()


def after(_: object = None) -> list[str]:
    return _here()


def flaky() -> int:
    if current_job().attempt == 1:
        raise ValueError("not yet")
    return current_job().attempt


def fail() -> None:
    raise ValueError("boom")


async def fail_async() -> None:
    raise ValueError("boom")


def fail_hard(_: object = None) -> None:
    raise OSError("no such file")


async def stay() -> None:
    await asyncio.Event().wait()


snoozed: set[str] = set()


def ask(what: str) -> str:
    """Ask for something once."""
    job = current_job()
    if job.job_id not in snoozed:
        snoozed.add(job.job_id)
        match what:
            case "retry":
                raise Retry(0.01)
            case "snooze":
                raise Snooze(0.01)
            case "cancel":
                raise Cancel("not wanted")
            case _:
                pass
    return what
