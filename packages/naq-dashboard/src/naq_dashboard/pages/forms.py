"""Forms of pages: their fields become what an action takes."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from litestar import post
from litestar.datastructures import Cookie
from litestar.exceptions import ValidationException
from litestar.params import FromPath
from litestar.response import Response

from naq_core.written_calls import read_json, read_json_arguments
from naq_dashboard.access.roles import Action, Viewer
from naq_dashboard.actions.details import Target
from naq_dashboard.actions.enqueue import NewJob, target_of
from naq_dashboard.actions.jobs import NEVER_RUNS
from naq_dashboard.actions.operations import ActionResult
from naq_dashboard.actions.table import TARGETS, UNDO
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.languages import said, spoken
from naq_dashboard.pages.frame import NOTICE, asked_by, local_path
from naq_dashboard.pages.jobs import filter_of, terms_of
from naq_dashboard.pages.page import Query
from naq_dashboard.state import AppState
from naq_dashboard.web import AnyRequest, links_of, state_of

__all__ = ["FORMS"]

OPTION = "options."
"""Before the name of a field that is an option of a schedule's jobs."""
STARTED = {
    "retry": said("Started: retry all matching jobs."),
    "cancel": said("Started: cancel all matching jobs."),
    "delete": said("Started: delete all matching jobs."),
}
T = TypeVar("T", bound=msgspec.Struct)


@post("/do/{verb:str}", include_in_schema=False, opt={"checks_action": True}, status_code=303)
async def do(request: AnyRequest, verb: FromPath[str]) -> Response[Any]:
    """Carry out what a form asks for; a script gets an answer, a plain form goes back to where it came from."""
    state, viewer, links = state_of(request), viewer_of(request), links_of(request)
    pairs = tuple((key, value) for key, value in (await request.form()).multi_items() if isinstance(value, str))
    form = asked_by(request, pairs)
    location, undo = "", None
    match verb:
        case "bulk" if form.get("every") or form.get("scope") == "all":
            action = form.get("every") or form.get("verb")
            run = await state.operations.bulk(viewer, action, filter_of(form, state.now()))
            result = ActionResult(STARTED[run.verb])
            location = links("jobs", bulk=run.run_id, **terms_of(form))
        case "bulk":
            result = await state.operations.each(viewer, form.get("verb"), form.all("chosen"))
        case "stop-bulk":
            run = state.operations.runs.stop(viewer, form.get("run_id"))
            result = ActionResult(said("It had already ended.") if run.ended_at else said("It stops after the jobs in progress."))
        case _:
            result = await _perform(state, viewer, verb, form)
            location = links(*result.page, queue=result.queue) if result.page else ""
            if inverse := _undo(verb, form, result):
                undo = {
                    "action": links("do", inverse),
                    "fields": {name: text for name, text in form.pairs if name in TARGETS.values()},
                }
    with spoken(state.languages.catalogue(form.language)):
        notice = result.said.here()
    if "application/json" in request.headers.get("Accept", ""):
        told = {"notice": notice, "location": location}
        return Response(told if undo is None else {**told, "undo": undo}, status_code=200)
    back = location or local_path(_path_of(request.headers.get("Referer", "")), links())
    response: Response[Any] = Response(b"", status_code=303, headers={"Location": back})
    response.set_cookie(Cookie(key=NOTICE, value=quote(notice[:500]), path=f"{links.base}/", httponly=True, samesite="strict"))
    return response


def _undo(verb: str, form: Query, result: ActionResult) -> str | None:
    """Return the action that takes this one back; a cancelled job can be requeued as it was only if it was queued."""
    if verb == "cancel-job" and form.get("was") == "queued" and result.said == NEVER_RUNS:
        return "retry-job" if form.viewer.may(Action.RETRY_JOB) else None
    return UNDO.get(verb)


async def _perform(state: AppState, viewer: Viewer, verb: str, form: Query) -> ActionResult:
    name = form.get(TARGETS.get(verb.rpartition("-")[2], ""))
    known = state.operations.require(viewer, verb, name)  # before the form's faults are said
    order = decode(known.takes, {key: form.get(key) for key, _ in form.pairs})
    queue = form.get("queue") if verb.endswith("-job") else ""
    target = target_of(order) if isinstance(order, NewJob) else Target(name, queue)
    return await state.operations.perform(viewer, verb, target, order)


def decode(takes: type[T], fields: Mapping[str, str]) -> T:
    """Return what a form's fields make; those that are empty keep their defaults, and unknown ones are ignored.

    Raises:
        ValidationException: A field has the wrong type, or is out of range; names it.
    """
    given: dict[str, Any] = {name: text for name in takes.__struct_fields__ if (text := fields.get(name, ""))}
    if "args" in takes.__struct_fields__:
        try:
            given["args"], given["kwargs"] = read_json_arguments(fields.get("arguments") or "[]")
        except ValueError as error:
            raise ValidationException(f"arguments {error}") from error
    if "data" in given:
        try:
            given["data"] = read_json(given["data"])
        except ValueError as error:
            raise ValidationException(f"data {error}") from error
    if options := {name.removeprefix(OPTION): text for name, text in fields.items() if name.startswith(OPTION) and text}:
        given["options"] = options
    try:
        return msgspec.convert(given, takes, strict=False)
    except msgspec.ValidationError as error:
        problem, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        if "`int" in problem and ("got `str`" in problem):
            problem = "must be an integer"
        raise ValidationException(f"{name} {problem}, not {str(given.get(name, ''))[:40]!r}" if name else problem) from error


def _path_of(address: str) -> str:
    """Return the path and query of an address. The query names the queue of a job, or the filter of a list."""
    try:
        parts = urlsplit(address)
    except ValueError:  # such as `http://[`
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


FORMS: list[Any] = [do]
