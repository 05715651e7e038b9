"""Sentry: errors, transactions and monitors of jobs.

Needs `sentry-sdk` (`pip install 'naq-core[sentry]'`); the program calls `sentry_sdk.init`. `docs/telemetry.md` explains it.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

try:
    import sentry_sdk
except ImportError as error:
    raise ImportError("sentry-sdk is not installed: pip install 'naq-core[sentry]'") from error
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.utils import event_from_exception

from naq_core.context import JobContext
from naq_core.middleware import Attempt, Enqueue, Timing
from naq_core.option_kinds import LONGEST_HEADER
from naq_core.telemetry.ending import Ending, Outcome, ending_of, own_frames
from naq_core.wording import counted

__all__ = ["Sentry"]

ORIGIN = "auto.queue.naq"
STATUS: dict[Outcome, str] = {
    "succeeded": "ok",
    "retried": "aborted",
    "snoozed": "aborted",
    "cancelled": "cancelled",
    "interrupted": "cancelled",
    "failed": "internal_error",
    "timed_out": "deadline_exceeded",
}
"""Of a transaction, by the outcome of its attempt."""


class Sentry:
    """Middleware that reports failed jobs, traces attempts, and checks schedules in with their monitors.

    Args:
        retries: Whether errors of attempts that will be retried are reported, too.
        monitors: Whether the jobs of schedules are check-ins of a monitor with the schedule's id, which Sentry creates.
    """

    def __init__(self, *, retries: bool = False, monitors: bool = True) -> None:
        self.retries = retries
        self.monitors = monitors
        ignore_logger("naq_worker.jobs")  # the worker logs each failure, which Sentry would take for a second error

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        """Let the jobs continue the trace, and leave a breadcrumb."""
        if not sentry_sdk.get_client().is_active():
            yield
            return
        first = jobs[0]
        where = ", ".join(sorted({job.queue for job in jobs}))
        with sentry_sdk.start_span(op="queue.publish", name=where, origin=ORIGIN) as span:
            span.set_data("messaging.system", "nats")
            span.set_data("messaging.destination.name", where)
            span.set_data("messaging.batch.message_count", len(jobs))
            if first.kind == "firing":
                with sentry_sdk.isolation_scope() as scope, sentry_sdk.new_scope() as inner:
                    inner.span = None
                    scope.set_new_propagation_context()
                    _inject(jobs)
            elif first.kind == "enqueue":
                _inject(jobs)
            yield
        what = first.function if len(jobs) == 1 else counted(len(jobs), "job")
        ids = [job.job_id for job in jobs[:10]]
        sentry_sdk.add_breadcrumb(category="naq", message=f"{first.kind} of {what} on {where}", data={"job_ids": ids})
        if self.monitors and first.timing is not None and (schedule := monitor_schedule(first.timing)) is not None:
            config: Any = {"schedule": schedule, "timezone": first.timing.timezone}
            _check_in(first.schedule, first.job_id, "in_progress", monitor_config=config)

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        """Run the function within a transaction, and report its error."""
        if not sentry_sdk.get_client().is_active():
            yield
            return
        job = attempt.job
        raised: BaseException | None = None
        with sentry_sdk.isolation_scope() as scope:
            _describe(scope, job)
            transaction = sentry_sdk.continue_trace(dict(job.headers), "queue.process", job.function, "task", ORIGIN)
            with sentry_sdk.start_transaction(transaction) as span:
                span.set_data("messaging.system", "nats")
                span.set_data("messaging.destination.name", job.queue)
                span.set_data("messaging.message.id", job.job_id)
                span.set_data("messaging.message.retry.count", job.attempt - 1)
                try:
                    yield
                except BaseException as error:  # noqa: BLE001 - raised again below
                    raised = error
                ending = ending_of(attempt, raised)
                span.set_status("internal_error" if ending.outcome == "retried" and ending.error else STATUS[ending.outcome])
                self._report(ending)
        if self.monitors and job.schedule and ending.is_final:
            _check_in(job.schedule, job.job_id, "ok" if ending.error is None else "error")
        if raised is not None:
            raise raised

    def _report(self, ending: Ending) -> None:
        if ending.error is None or not (ending.is_final or self.retries):
            return
        event, hint = event_from_exception(
            (type(ending.error), ending.error, own_frames(ending.error)),
            client_options=sentry_sdk.get_client().options,
            mechanism={"type": "naq", "handled": False},
        )
        sentry_sdk.capture_event(event, hint=hint)


def monitor_schedule(timing: Timing) -> dict[str, Any] | None:
    """Return when a schedule fires in Sentry's words; None if it has none for it, as for seconds."""
    if timing.cron is not None:
        is_known = timing.cron.startswith("@") or len(timing.cron.split()) == 5
        return {"type": "crontab", "value": timing.cron} if is_known else None
    seconds = timing.interval or 0
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return {"type": "interval", "value": int(seconds // size), "unit": unit}
    return None


def _check_in(schedule: str, job_id: str, status: str, **more: Any) -> None:
    slug = schedule.lower()[:50]  # as Sentry allows
    # Each process finds the same id: there is nothing to hand on.
    capture_checkin(slug, hashlib.blake2b(job_id.encode(), digest_size=16).hexdigest(), status, **more)


def _describe(scope: sentry_sdk.Scope, job: JobContext) -> None:
    facts: dict[str, Any] = {
        "job_id": job.job_id,
        "queue": job.queue,
        "function": job.function,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "workflow": job.workflow,
        "schedule": job.schedule,
        "tags": list(job.tags),
    }
    scope.clear_breadcrumbs()
    scope.set_context("naq", facts)
    for name in ("job_id", "queue", "attempt"):
        scope.set_tag(f"naq.{name}", str(facts[name]))
    scope.set_transaction_name(job.function, "task")
    scope.add_breadcrumb(category="naq", message=f"enqueued on {job.queue}", timestamp=job.enqueued_at)


def _inject(jobs: Sequence[Enqueue]) -> None:
    """Write the current trace into headers; other members of a baggage stay."""
    trace, ours = sentry_sdk.get_traceparent(), sentry_sdk.get_baggage()
    for job in jobs:
        if trace:
            job.headers["sentry-trace"] = trace
        others = [each for each in job.headers.get("baggage", "").split(",") if each and not each.strip().startswith("sentry-")]
        baggage = ",".join([*others, *([ours] if ours else [])])
        if baggage and len(baggage) <= LONGEST_HEADER:
            job.headers["baggage"] = baggage
