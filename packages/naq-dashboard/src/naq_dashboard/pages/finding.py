"""What the command palette finds on the server: whatever has a page, by a part of its name, and a job by its id."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import get

from naq_core.errors import BrokerError, NaqError
from naq_core.inspect import get_job, list_queues, list_workflows
from naq_core.names import is_job_id
from naq_core.schedules import list_schedules
from naq_core.views import JobView
from naq_dashboard.languages import _, ngettext, spoken
from naq_dashboard.pages.frame import query_of
from naq_dashboard.pages.workers import read_rows
from naq_dashboard.render import Links, in_queue
from naq_dashboard.state import AppState
from naq_dashboard.web import AnyRequest, links_of, state_of

__all__ = ["FINDING", "Suggestion"]

MOST = 5
"""Suggestions of a kind."""
MOST_WORKFLOWS = 20
"""The newest workflows, among which names are looked for."""
HOURS = 24.0
"""Functions are known that ran within this time."""
SHORTEST_ID = 3
"""Characters; shorter texts are the beginning of a word."""
FRESH = 3.0
"""Seconds: who types asks again with each letter."""


class Suggestion(msgspec.Struct, kw_only=True):
    """Something that has a page."""

    kind: str
    name: str
    hint: str
    href: str


@get("/find", include_in_schema=False)
async def find(request: AnyRequest) -> list[Suggestion]:
    """Return the job that has the text as its id, and what has the text in its name: names that begin with it first."""
    state, links, query = state_of(request), links_of(request), query_of(request)
    text = query.get("q")
    if not text:
        return []
    with spoken(state.languages.catalogue(query.language)):
        found = await asyncio.gather(
            _jobs(state, links, text),
            _queues(state, links),
            _functions(state, links),
            _schedules(state, links),
            _workers_and_workflows(state, links),
        )
    return [*found[0], *(each for kind in found[1:] for each in _fitting(kind, text))]


def _fitting(known: Iterable[Suggestion], text: str) -> list[Suggestion]:
    part = text.lower()
    fitting = [each for each in known if part in each.name.lower()]
    return sorted(fitting, key=lambda each: not each.name.lower().startswith(part))[:MOST]


async def _queues(state: AppState, links: Links) -> list[Suggestion]:
    return [
        Suggestion(
            kind=_("Queue"),
            name=each.queue,
            hint=_("%(count)s queued") % {"count": each.queued},
            href=links("queues", each.queue),
        )
        for each in await state.read(list_queues)
        if links.can_hold(each.queue)
    ]


async def _functions(state: AppState, links: Links) -> list[Suggestion]:
    return [
        Suggestion(
            kind=_("Function"),
            name=each.function,
            hint=ngettext("%(count)s run", "%(count)s runs", each.started) % {"count": each.started},
            href=links("functions", each.function),
        )
        for each in await state.figures.functions(HOURS)
        if links.can_hold(each.function)
    ]


async def _schedules(state: AppState, links: Links) -> list[Suggestion]:
    return [
        Suggestion(
            kind=_("Schedule"),
            name=each.schedule_id,
            hint=_("paused") if each.paused else each.function,
            href=links("schedules", each.schedule_id),
        )
        for each in await state.read(list_schedules, fresh=FRESH)
        if links.can_hold(each.schedule_id)
    ]


async def _workers_and_workflows(state: AppState, links: Links) -> list[Suggestion]:
    """Return workers and the newest workflows."""
    workers, page = await asyncio.gather(read_rows(state), state.read(list_workflows, MOST_WORKFLOWS, None, False, fresh=FRESH))
    return [
        *(
            Suggestion(kind=_("Worker"), name=each.worker_id, hint=_(each.state), href=links("workers", each.worker_id))
            for each in workers
            if links.can_hold(each.worker_id)
        ),
        *(
            Suggestion(
                kind=_("Workflow"),
                name=each.name or each.workflow_id,
                hint=ngettext("%(count)s job", "%(count)s jobs", each.total) % {"count": each.total},
                href=links("workflows", each.workflow_id),
            )
            for each in page.workflows
            if links.can_hold(each.workflow_id)
        ),
    ]


async def _jobs(state: AppState, links: Links, text: str) -> list[Suggestion]:
    job = await _job(state, text)
    if job is None:
        return []
    href = links("jobs", job.job_id, **in_queue(job.job_id, job.queue))
    return [Suggestion(kind=_("Job"), name=job.job_id, hint=f"{job.function} {_(job.state.value)}", href=href)]


async def _job(state: AppState, text: str) -> JobView | None:
    """Return the job with this id, which may be `id@queue`; None if no queue has it, or several do."""
    if len(text) < SHORTEST_ID or not is_job_id(text.partition("@")[0]):
        return None
    try:
        return await state.read(get_job, text, "*", state.mask)
    except BrokerError:
        raise
    except NaqError:
        return None


FINDING: list[Any] = [find]
