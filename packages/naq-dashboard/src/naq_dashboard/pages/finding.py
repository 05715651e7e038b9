"""What the command palette finds on the server: queues by a part of their name, and a job by its id."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import get

from naq_core.errors import BrokerError, NaqError
from naq_core.inspect import get_job, list_queues
from naq_core.names import is_job_id
from naq_core.views import JobView, QueueView
from naq_dashboard.languages import _, spoken
from naq_dashboard.pages.frame import query_of
from naq_dashboard.render import Links, in_queue
from naq_dashboard.state import AppState
from naq_dashboard.web import AnyRequest, links_of, state_of

__all__ = ["FINDING", "Suggestion"]

MOST = 10
SHORTEST_ID = 3
"""Characters; shorter texts are the beginning of a word."""


class Suggestion(msgspec.Struct, kw_only=True):
    """Something that has a page."""

    kind: str
    name: str
    hint: str
    href: str


@get("/find", include_in_schema=False)
async def find(request: AnyRequest) -> list[Suggestion]:
    """Return the job that has the text as its id, and queues with the text in their names: those that begin with it first."""
    state, links, query = state_of(request), links_of(request), query_of(request)
    text = query.get("q")
    if not text:
        return []
    job, queues = await asyncio.gather(_job(state, text), state.read(list_queues))
    with spoken(state.languages.catalogue(query.language)):
        return _suggestions(text, job, queues, links)


def _suggestions(text: str, job: JobView | None, queues: Sequence[QueueView], links: Links) -> list[Suggestion]:
    found = []
    if job is not None:
        href = links("jobs", job.job_id, **in_queue(job.job_id, job.queue))
        found.append(Suggestion(kind=_("Job"), name=job.job_id, hint=f"{job.function} {_(job.state.value)}", href=href))
    part = text.lower()
    named = sorted(
        (each for each in queues if part in each.queue.lower()), key=lambda each: not each.queue.lower().startswith(part)
    )
    found += [
        Suggestion(
            kind=_("Queue"),
            name=each.queue,
            hint=_("%(count)s queued") % {"count": each.queued},
            href=links("queues", each.queue),
        )
        for each in named[:MOST]
        if links.can_hold(each.queue)
    ]
    return found


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
