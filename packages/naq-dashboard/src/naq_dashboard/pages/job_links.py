"""Links from a job to what other systems know of it: its trace, its events in Sentry, its log."""

import re
from collections.abc import Sequence
from urllib.parse import quote

from naq_core.views import JobView
from naq_dashboard.job_link import JobLink

__all__ = ["links_of_job"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_SENTRY = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})")


def links_of_job(templates: Sequence[JobLink], job: JobView) -> list[tuple[str, str]]:
    """Return names and addresses; a link is left out where the job does not have what its template asks for."""
    trace = _TRACEPARENT.match(job.headers.get("traceparent", "")) or _SENTRY.match(job.headers.get("sentry-trace", ""))
    values = {
        "job_id": job.job_id,
        "queue": job.queue,
        "function": job.function,
        "workflow": job.workflow,
        "worker": job.worker,
        "trace_id": trace[1] if trace else "",
        "span_id": trace[2] if trace else "",
    }
    quoted = {name: quote(value, safe="") for name, value in values.items()}
    return [(each.name, each.template.format(**quoted)) for each in templates if all(values[name] for name in each.fields)]
