"""Lists of jobs by filter, those that are delayed, and one job with all that is known of it."""

import asyncio
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from naq_core.errors import ConfigurationError
from naq_core.filters import FIELDS, build_filter, explain_filter, meant_states
from naq_core.inspect import broker_info, get_arguments, get_call, get_job, list_queues
from naq_core.names import check_place
from naq_core.options import OPTIONS
from naq_core.record import JobState
from naq_core.views import JobCount, JobFilter, JobPage, JobView
from naq_core.written_calls import WrittenCall
from naq_dashboard.actions.bulk import BulkRun
from naq_dashboard.drawing.waterfall import course
from naq_dashboard.languages import N_, _
from naq_dashboard.masking import MASK
from naq_dashboard.pages.attempts import attempts
from naq_dashboard.pages.job_links import links_of_job
from naq_dashboard.pages.option_fields import option_fields
from naq_dashboard.pages.page import Query
from naq_dashboard.queries import search
from naq_dashboard.queries.audit import done_to
from naq_dashboard.queries.queues import job_counts
from naq_dashboard.queries.searches import Search, names_one
from naq_dashboard.queries.workers import running_views
from naq_dashboard.render import LOG_LEVELS, in_queue, moment
from naq_dashboard.state import AppState
from naq_dashboard.times import zone_of_name

__all__ = ["delayed", "filter_of", "job", "jobs", "new_job"]

PAGE = 50
MOST = 500
TERMS = ("q", "state", *FIELDS, "since", "until")
HIDDEN = ("worker", "workflow", "schedule", "error", "since", "until")
"""Terms that links bring along; they have no field in the form."""
MOST_FAILED = 3
"""How many failed attempts the timeline shows; all of them are listed below it."""
SEARCH_TERMS = (
    ("state:dead,retrying", N_("in one of these states")),
    ("queue:mail,billing", N_("of one of these queues")),
    ("function:report", N_("a part of the function's name")),
    ("error:TimeoutError", N_("whose last error has this type")),
    ("worker:ID", N_("last run by this worker")),
    ("workflow:ID schedule:ID", N_("created by these")),
    ("tag:vip header.customer:4711", N_("with this tag and this header")),
    ("arg.customer:4711 arg.0.id:5", N_("with these arguments, by name or position")),
    ("id:ID key:KEY", N_("with this id or unique key; found at once")),
    ("since:2h until:10m", N_("enqueued within this time; or since:2030-01-31T12:00, in the zone of the page")),
    ('"two words"', N_("the exact phrase")),
)
WORDS = (
    "function:",
    "error:",
    "worker:",
    "workflow:",
    "schedule:",
    "tag:",
    "key:",
    "id:",
    "arg.",
    "header.",
    "since:1h",
    "until:",
)
MOST_WORDS = 100
"""Queues that the search field suggests."""
COMMON = ("delay", "priority", "max_retries", "timeout", "job_id")
"""Options that the form of a new job shows at once; the others are below "More options"."""
MOST_RELATIVES = 20
"""Parents and children whose times are drawn."""
RELATIVES_FRESH = 1.0
DELAYED = frozenset({JobState.HELD, JobState.RETRYING})


def filter_of(query: Query, now: datetime) -> JobFilter:
    """Return the filter that an address asks for: the search words, and a parameter for each field.

    Args:
        now: The server's time, from which durations count back.

    Raises:
        ConfigurationError: Unknown field or state, or an invalid time.
    """
    fields = {name: query.get(name) for name in (*FIELDS, "since", "until")}
    return build_filter(query.get("q"), fields, query.all("state"), now=now, zone=zone_of_name(query.zone))


def terms_of(query: Query) -> dict[str, list[str]]:
    """Return only those parameters that are part of the filter."""
    return {name: values for name, values in query.asdict().items() if name in TERMS}


async def jobs(state: AppState, query: Query) -> dict[str, Any]:
    """Show the jobs that a filter matches, the one that changed last first."""
    try:
        wanted, complaint = filter_of(query, state.now()), ""
    except ConfigurationError as error:  # said beside what was typed, so that it can be put right
        wanted, complaint = JobFilter(), str(error)
    by_age = query.get("sort") == "longest" and wanted.states == {JobState.RUNNING}
    limit = MOST if by_age else query.number("limit", PAGE, 1, MOST)
    cursor = "" if complaint else query.get("cursor")
    found = _nothing() if complaint else _search(state, query, wanted, limit, cursor)
    (page, progress), queues = await asyncio.gather(found, state.read(list_queues))
    if by_age:
        oldest = sorted(page.jobs, key=lambda job: job.started_at or state.now())
        page = JobPage(jobs=oldest, cursor=page.cursor, scanned=page.scanned)
    return {
        "title": _("Jobs"),
        "found": page,
        "progress": progress,
        "entries": await _entries(state) if progress is not None else 0,
        "count": await _count(state, wanted, page, limit, cursor),
        "complaint": complaint,
        "understood": _understood(wanted, query) if query.get("q") and not complaint else [],
        "meant": meant_states(wanted),
        "status": 400 if complaint else 200,
        "counts": job_counts(queues),
        "queues": [each.queue for each in queues],
        "chosen_states": [each.value for each in wanted.states],
        "terms": terms_of(query),
        "also": {name: value for name in HIDDEN if (value := query.get(name))},
        "limit": limit,
        "by_age": by_age,
        "search_terms": [(term, _(meaning)) for term, meaning in SEARCH_TERMS],
        "search_words": [
            *WORDS,
            *(f"state:{each.value}" for each in JobState),
            *(f"queue:{each.queue}" for each in queues[:MOST_WORDS]),
        ],
        "runs": _runs(state, query.get("bulk")),
    }


def _understood(wanted: JobFilter, query: Query) -> list[tuple[str, str]]:
    """Return what is looked at and what it has to be; of states and queues, any of several."""
    found = []
    for what, text in explain_filter(wanted, zone_of_name(query.zone)):
        several = text.split(" or ") if what in {"state", "queue"} else [text]
        found.append((what, _(" or ").join(_(each) if what == "state" else each for each in several)))
    return found


async def _nothing() -> tuple[JobPage, Search | None]:
    return JobPage(jobs=[]), None


async def _search(state: AppState, query: Query, wanted: JobFilter, limit: int, cursor: str) -> tuple[JobPage, Search | None]:
    """Return what is found in a moment; where that is neither a full page nor all, also the search that goes on."""
    known = state.searches.get(wanted, limit, cursor)
    if known is not None and known.is_running and not known.is_over:
        head = None
    else:
        head = await search.find(state.read, wanted, limit, cursor)
        if head.cursor is None or len(head.jobs) >= limit or (names_one(wanted, head) and not query.get("search")):
            return head, None
    if query.get("search") == "stop":
        followed = state.searches.stop(wanted, limit, cursor)
    else:
        followed = state.searches.follow(wanted, limit, cursor, head)
    if followed is None:
        return head or JobPage(jobs=[]), None
    return followed.with_newest(head or JobPage(jobs=[])), followed


async def _count(state: AppState, wanted: JobFilter, page: JobPage, limit: int, cursor: str) -> JobCount:
    """Return how many jobs match: at least as many as are shown."""
    count = await search.count(state.read, wanted, None if cursor else page, limit)
    return count if count.is_exact or count.count >= len(page.jobs) else JobCount(count=len(page.jobs), is_exact=False)


async def _entries(state: AppState) -> int:
    """Return how many entries a search looks at, at most."""
    names = (await state.connection()).names
    streams = (await state.read(broker_info, fresh=2.0)).streams
    return sum(each.get("messages", 0) for each in streams if each.get("name") in (names.jobs_stream, names.results_stream))


def _runs(state: AppState, run_id: str) -> list[BulkRun]:
    """Return the actions on many jobs to show: that of the address, and whatever is under way."""
    named = state.operations.runs.get(run_id)
    return [*([named] if named is not None and named.ended_at is not None else []), *state.operations.runs.under_way()]


async def delayed(state: AppState, query: Query) -> dict[str, Any]:
    """Show jobs that wait for their time, their retry, or other jobs."""
    wanted = msgspec.structs.replace(filter_of(query, state.now()), states=DELAYED)
    page = await search.find(state.read, wanted, PAGE, query.get("cursor"))
    return {"title": _("Held"), "found": page, "terms": terms_of(query)}


async def job(state: AppState, query: Query) -> dict[str, Any]:
    """Show one job."""
    job_id, queue = check_place(query.get("job_id"), query.get("queue") or "*")
    view, arguments, done = await asyncio.gather(
        state.read(get_job, job_id, queue, state.mask),
        state.read(get_arguments, job_id, queue, state.mask),
        done_to(state.read, "job", job_id),
    )
    level = query.get("level").upper()
    least = LOG_LEVELS.get(level, 0)
    family = (*view.parents[:MOST_RELATIVES], *view.children[:MOST_RELATIVES])
    relatives = await state.read(running_views, family, fresh=RELATIVES_FRESH) if family else {}
    return {
        "title": view.function or view.job_id,
        "course": course(
            view,
            [relatives[each] for each in view.parents if each in relatives],
            [relatives[each] for each in view.children if each in relatives],
            state.now(),
        ),
        "relatives": relatives,
        "logs": [line for line in view.logs if LOG_LEVELS.get(line.level, 0) >= least],
        "levels": LOG_LEVELS.keys(),
        "level": level if least else "",
        "elsewhere": links_of_job(state.settings.job_links, view),
        "job": view,
        "place": f"{view.job_id}@{view.queue}" if in_queue(view.job_id, view.queue) else view.job_id,
        "arguments": arguments,
        "steps": timeline(view),
        "attempts": attempts(view),
        "activity": done,
    }


async def new_job(state: AppState, query: Query) -> dict[str, Any]:
    """Show the form that enqueues a job."""
    queues, (like, call) = await asyncio.gather(state.read(list_queues), _model(state, query))
    values = _Given(like) if like is not None else None
    return {
        "title": _("New job") if like is None else _("Enqueue again"),
        "like": like,
        "function": like.function if like is not None else query.get("function"),
        "arguments": "" if call is None else written_call(call),
        "hides": call is not None and MASK in written_call(call),
        "knows_arguments": call is not None,
        "queue": (like.queue if like is not None else query.get("queue")) or state.naq_settings.default_queue,
        "queues": [each.queue for each in queues],
        "common": option_fields(COMMON, values=values),
        "rare": option_fields([name for name in OPTIONS if name not in {*COMMON, "queue"}], values=values),
        "stream": "",
    }


class _Given:
    """The options that are known of a job, as a form shows them."""

    def __init__(self, like: JobView) -> None:
        self.priority = like.priority if like.priority != "normal" else None
        self.max_retries = None if like.max_attempts is None else max(0, like.max_attempts - 1)
        self.tags = ", ".join(like.tags) or None
        self.headers = ", ".join(f"{name}={value}" for name, value in like.headers.items()) or None


async def _model(state: AppState, query: Query) -> tuple[JobView | None, WrittenCall | None]:
    """Return the job that the new one is to be like, and its arguments as far as they are known."""
    named = query.get("like")
    if not named:
        return None, None
    job_id, queue = check_place(named, query.get("queue") or "*")
    return await asyncio.gather(state.read(get_job, job_id, queue, state.mask), state.read(get_call, job_id, queue, state.mask))


def written_call(call: WrittenCall) -> str:
    """Return arguments as the form takes them."""
    args, kwargs = call
    if not args and not kwargs:
        return ""
    return msgspec.json.format(msgspec.json.encode([args, kwargs] if args and kwargs else args or kwargs)).decode()


def timeline(view: JobView) -> list[dict[str, Any]]:
    """Return the moments of a job's life: name, time, what came between it and the one before, and whether it has been."""
    steps: list[dict[str, Any]] = [_step(_("Enqueued"), view.enqueued_at, "queued")]
    if view.state is JobState.HELD:
        steps.append(_step(_("Due") if view.due_at else _waits(view), view.due_at, "held", done=False))
    failed = view.errors[:-1] if view.state is JobState.DEAD else view.errors
    if len(failed) > MOST_FAILED:
        steps.append(_step(_("%(count)s more failed") % {"count": len(failed) - MOST_FAILED}, None, "failed"))
    steps += [
        _step(_("Attempt %(number)s failed") % {"number": each.attempt}, moment(each.at), "failed")
        for each in failed[-MOST_FAILED:]
    ]
    if view.started_at is not None and view.attempt and view.state is not JobState.RETRYING:
        name = _("Started") if view.attempt <= 1 else _("Attempt %(number)s started") % {"number": view.attempt}
        steps.append(_step(name, view.started_at, "started"))
    if view.state is JobState.RETRYING:
        steps.append(_step(_("Next attempt"), view.due_at, "retrying", done=False))
    elif view.state is JobState.RUNNING:
        steps.append(_step(_("Running"), None, "running", done=False))
    elif view.state is JobState.QUEUED:
        steps.append(_step(_("Waiting for a worker"), None, "queued", done=False))
    elif view.state.is_final:
        name = _("Failed permanently") if view.state is JobState.DEAD else _(view.state.value).capitalize()
        steps.append(_step(name, view.ended_at, view.state.value))
    for before, step in pairwise(steps):
        known = before["at"] is not None and step["at"] is not None
        step["took"] = (step["at"] - before["at"]).total_seconds() if known else None
    return steps


def _waits(view: JobView) -> str:
    if view.waits_for_key:
        return _("Waiting for its key")
    if view.signal:
        return _("Waiting for signal %(signal)s") % {"signal": view.signal}
    return _("Waiting for its queue's rate") if view.waits_for_rate else _("Waiting for other jobs")


def _step(name: str, at: datetime | None, kind: str, *, done: bool = True) -> dict[str, Any]:
    return {"name": name, "at": at, "kind": kind, "done": done}
