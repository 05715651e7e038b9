"""OpenTelemetry: spans and metrics by the semantic conventions for messaging.

Needs `opentelemetry-api` (`pip install 'naq-core[otel]'`); the SDK is set up by the program. `docs/telemetry.md` explains it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any

try:
    from opentelemetry import context, metrics, propagate, trace
except ImportError as error:
    raise ImportError("opentelemetry-api is not installed: pip install 'naq-core[otel]'") from error
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider

from naq_core._version import __version__
from naq_core.middleware import Attempt, Enqueue
from naq_core.option_kinds import LONGEST_HEADER, MOST_HEADERS
from naq_core.telemetry._instruments import Instruments
from naq_core.telemetry.ending import ending_of

__all__ = ["OpenTelemetry"]

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
MOST_CREATED = 1000
"""Jobs of one enqueue that have a span each; more of them share one."""


class OpenTelemetry:
    """Middleware that traces jobs and measures them.

    Args:
        parent: Whether an attempt belongs to the trace of the enqueue. By default it begins a trace of its own, with a link to
            the span that created the job, as the semantic conventions recommend.
        tracer_provider: By default the global one.
        meter_provider: By default the global one. Middleware with a provider cannot be handed to child processes: name it.
    """

    def __init__(
        self,
        *,
        parent: bool = False,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self.parent = parent
        self._providers = tracer_provider, meter_provider

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process makes for itself."""
        return {"parent": self.parent, "_providers": self._providers}

    @cached_property
    def _tracer(self) -> trace.Tracer:
        return trace.get_tracer("naq", __version__, self._providers[0], SCHEMA)

    @cached_property
    def _instruments(self) -> Instruments:
        return Instruments(metrics.get_meter("naq", __version__, self._providers[1], schema_url=SCHEMA))

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        """Send a span, and its context with the jobs."""
        operation = "requeue" if jobs[0].kind == "requeue" else "enqueue"
        span = self._requeued(jobs) if operation == "requeue" else self._sent(jobs)
        begun = perf_counter()
        failure = ""
        try:
            yield
        except BaseException as error:
            failure = note_error(span, error)
            raise
        finally:
            span.end()
            self._instruments.enqueued(operation, jobs, perf_counter() - begun, failure)

    def _sent(self, jobs: Sequence[Enqueue]) -> Span:
        """Start the span of an enqueue, and write the context of each job's creation into its headers."""
        first = jobs[0]
        own = 1 < len(jobs) <= MOST_CREATED
        links = []
        for job in jobs if own else ():
            created = self._start("create", [job], SpanKind.PRODUCER, _around(job), _links_of(job))
            inject(job, trace.set_span_in_context(created, _around(job)))
            links.append(Link(created.get_span_context()))
            created.end()
        links += _links_of(first) if not own else []
        span = self._start("enqueue", jobs, SpanKind.CLIENT if own else SpanKind.PRODUCER, _around(first), links)
        for job in () if own else jobs:
            inject(job, trace.set_span_in_context(span, _around(job)))
        return span

    def _requeued(self, jobs: Sequence[Enqueue]) -> Span:
        """Start a span that links to where the jobs come from. Their headers stay: to change a signed job takes the key."""
        links = [Link(origin) for job in jobs if (origin := _origin(extract(job.headers))).is_valid]
        return self._start("requeue", jobs, SpanKind.PRODUCER, context.get_current(), links)

    def _start(self, operation: str, jobs: Sequence[Enqueue], kind: SpanKind, parent: Context, links: Sequence[Link]) -> Span:
        attributes: dict[str, Any] = {
            "messaging.system": "nats",
            "messaging.operation.name": operation,
            "messaging.operation.type": "create" if operation == "create" else "send",
        }
        first, name = jobs[0], operation
        if len({job.queue for job in jobs}) == 1:
            name = f"{operation} {first.queue}"
            attributes["messaging.destination.name"] = first.queue
        if len({job.workflow for job in jobs}) == 1 and first.workflow:
            attributes["messaging.message.conversation_id"] = first.workflow
        if len(jobs) == 1:
            attributes["messaging.message.id"] = first.job_id
            attributes["naq.task.name"] = first.function
            if first.schedule:
                attributes["naq.schedule.id"] = first.schedule
        else:
            attributes["messaging.batch.message_count"] = len(jobs)
        return self._tracer.start_span(name, parent, kind, attributes, links)

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        """Send a span, which is the current one of the function."""
        job = attempt.job
        given = extract(job.headers)
        origin = _origin(given)
        links = [Link(origin)] if origin.is_valid and not self.parent else []
        attributes: dict[str, Any] = {
            "messaging.system": "nats",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": job.queue,
            "messaging.message.id": job.job_id,
            "naq.task.name": job.function,
            "naq.job.attempt": job.attempt,
        }
        if job.workflow:
            attributes["messaging.message.conversation_id"] = job.workflow
        parent = given if self.parent else trace.set_span_in_context(trace.INVALID_SPAN, given)
        span = self._tracer.start_span(f"process {job.queue}", parent, SpanKind.CONSUMER, attributes, links)
        token = context.attach(trace.set_span_in_context(span, given))
        begun = perf_counter()
        raised: BaseException | None = None
        try:
            yield
        except BaseException as error:
            raised = error
            raise
        finally:
            context.detach(token)
            ending = ending_of(attempt, raised)
            span.set_attribute("naq.job.outcome", ending.outcome)
            failure = "" if ending.error is None else note_error(span, ending.error)
            span.end()
            self._instruments.processed(job, perf_counter() - begun, ending.outcome, failure)


def inject(job: Enqueue, where: Context) -> None:
    """Write a context into a job's headers, in place of one that is there; what does not fit is left out."""
    for field in propagate.get_global_textmap().fields:
        job.headers.pop(field, None)
    carrier: dict[str, str] = {}
    propagate.inject(carrier, where)
    for name, value in carrier.items():
        if len(value) <= LONGEST_HEADER and len(job.headers) < MOST_HEADERS:
            job.headers[name] = value


def extract(headers: Any) -> Context:
    """Return the context that headers carry, with nothing of this process's own."""
    return propagate.extract(headers, Context())


def note_error(span: Span, error: BaseException) -> str:
    """Record an error in a span; return the name of its type."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if span.is_recording():
        span.set_attribute("error.type", name)
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, f"{name}: {error}"))
    return name


def _around(job: Enqueue) -> Context:
    """Return what a job is created in: the current span, else the context in its headers. A firing begins a trace."""
    current = context.get_current()
    if job.kind == "firing":
        return Context()
    return current if _origin(current).is_valid else propagate.extract(job.headers, current)


def _links_of(job: Enqueue) -> list[Link]:
    """A firing that somebody has asked for links to where they did."""
    origin = _origin(context.get_current())
    return [Link(origin)] if job.kind == "firing" and origin.is_valid else []


def _origin(where: Context) -> trace.SpanContext:
    return trace.get_current_span(where).get_span_context()
