"""A trace with OpenTelemetry, from the request through its jobs; needs `naq-core[otel]` and opentelemetry-sdk."""

import asyncio
import os

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from naq_client import Queue
from naq_core.server import EmbeddedServer
from naq_core.telemetry.otel import OpenTelemetry
from naq_worker import Worker


async def pay(amount: int) -> None:
    """Do something with a span of its own."""
    with trace.get_tracer("shop").start_as_current_span("charge the card"):
        await asyncio.sleep(amount / 1000)


def line(span: ReadableSpan) -> str:
    """Return a span as one line, instead of as JSON."""
    found = span.get_span_context()
    number = f"{found.trace_id:032x}"[:6] if found is not None else ""
    return f"trace {number}: {span.name} ({span.status.status_code.name})\n"


async def main(url: str) -> None:
    """Enqueue within a trace, and run the jobs."""
    middleware = [OpenTelemetry(parent=True)]
    async with Queue(nats_url=url, middleware=middleware) as queue:
        with trace.get_tracer("shop").start_as_current_span("POST /orders"):
            jobs = [await queue.enqueue(pay, amount) for amount in (20, 30)]
        await Worker(["default"], url, middleware=middleware, burst=True, concurrency=1).run()
        for job in jobs:
            await job.result(timeout=10)


if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
    trace.set_tracer_provider(provider)
    if "NAQ_NATS_URL" in os.environ:
        asyncio.run(main(os.environ["NAQ_NATS_URL"]))
    else:
        with EmbeddedServer() as server:
            asyncio.run(main(server.url))
