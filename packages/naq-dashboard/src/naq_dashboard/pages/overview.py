"""The first page: how everything is, and what needs somebody."""

import asyncio
from typing import Any

from naq_core.inspect import broker_info, list_queues
from naq_dashboard.languages import _
from naq_dashboard.pages.charts import charts
from naq_dashboard.pages.page import Query
from naq_dashboard.pages.workers import read_rows
from naq_dashboard.queries import search
from naq_dashboard.queries.audit import done_lately
from naq_dashboard.queries.errors import dead_jobs
from naq_dashboard.queries.plans import read_plans
from naq_dashboard.queries.queues import ATTENTION_FRESH, longest_waiting, problems, totals
from naq_dashboard.state import AppState

__all__ = ["overview"]

RECENT = 8
DEFAULTS = {"nats-url": "nats://localhost:4222", "namespace": "naq"}
MOST_QUEUES = 8
MOST_PROBLEMS = 12


async def overview(state: AppState, query: Query) -> dict[str, Any]:
    """Show totals, the queues that wait longest, the newest failures, the workers and the server."""
    queues, workers, broker, failures, found, plans, (drawn, changes) = await asyncio.gather(
        state.read(list_queues),
        read_rows(state),
        state.read(broker_info),
        search.find(state.read, dead_jobs(), RECENT),
        problems(state.read),
        state.read(read_plans, state.mask, fresh=ATTENTION_FRESH, stale=ATTENTION_FRESH),
        asyncio.gather(charts(state, query), done_lately(state.read, state.now())),
    )
    names = (await state.connection()).names
    kept = (names.jobs_stream, names.results_stream)
    return {
        **drawn,
        "title": _("Overview"),
        # Streams count what was ever stored: a server whose jobs have all been deleted is not new.
        "is_new": not any(each.get("last_sequence") for each in broker.streams if each.get("name") in kept),
        "queue": state.naq_settings.default_queue,
        "there": _options(state.broker.url, names.namespace),
        "totals": totals(queues),
        "queues": longest_waiting(queues)[:MOST_QUEUES],
        "queue_count": len(queues),
        "workers": workers[:MOST_QUEUES],
        "worker_count": len(workers),
        "stale": sum(each.is_stale for each in workers),
        "slots": sum(each.concurrency for each in workers),
        "busy": sum(len(each.jobs) for each in workers),
        "failures": failures,
        "problems": found,
        "plans": plans,
        "most_problems": MOST_PROBLEMS,
        "changes": changes[:RECENT],
        "change_count": len(changes),
        "broker": broker,
        "stored_bytes": sum(stream.get("bytes", 0) for stream in broker.streams),
    }


def _options(url: str, namespace: str) -> str:
    """Return the options with which commands reach this server and namespace."""
    given = {"nats-url": url, "namespace": namespace}
    return "".join(f" --{name} {value}" for name, value in given.items() if value != DEFAULTS[name])
