"""Carries actions out: who may, noted in the audit trail, one by one or many."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from litestar.exceptions import ValidationException

from naq_core import manage
from naq_core.errors import NaqError
from naq_core.manage import CancelOutcome
from naq_core.masks import Mask
from naq_core.names import is_new_id
from naq_core.storage.connection import Connection
from naq_core.views import JobFilter
from naq_dashboard.access.roles import Action, Viewer
from naq_dashboard.actions.audit import Audit
from naq_dashboard.actions.bulk import DONE, BulkRun, BulkRuns, bulk_action
from naq_dashboard.actions.details import Target
from naq_dashboard.actions.table import TARGETS, VERBS, Verb
from naq_dashboard.languages import Sentence, said, said_of
from naq_dashboard.nats import Broker

__all__ = ["ActionResult", "Operations"]

MOST_CHOSEN = 500
AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of an action as a sentence, and the page to go to if not back."""

    said: Sentence
    page: tuple[str, ...] = ()
    queue: str = ""
    """Of the job whose page it is, if its id alone may not tell it."""

    @property
    def notice(self) -> str:
        """The sentence in English."""
        return str(self.said)


class Operations:
    """Carries actions out for those who may."""

    def __init__(self, broker: Broker, audit: Audit, mask: Mask, changed: Callable[[], None]) -> None:
        self._broker = broker
        self._changed = changed
        self._audit = audit
        self.runs = BulkRuns(audit, mask, changed)

    def require(self, viewer: Viewer, verb: str, target: str) -> Verb:
        """Return a verb that the viewer may use.

        Raises:
            ValidationException: There is no such verb.
            PermissionDeniedException: The viewer may not.
        """
        known = VERBS.get(verb)
        if known is None:
            raise ValidationException(f"unknown action {verb!r}")
        self._audit.require(viewer, known.action, verb, target)
        return known

    async def perform(self, viewer: Viewer, verb: str, target: Target, order: msgspec.Struct) -> ActionResult:
        """Do one thing.

        Args:
            target: What it is done to; a new job's or schedule's name may be empty.
            order: Of the type that the verb takes.

        Raises:
            ValidationException: There is no such verb, or the order is wrong.
            PermissionDeniedException: The viewer may not.
            NaqError: It cannot be done, or not be noted.
        """
        known = self.require(viewer, verb, target.name)
        connection = await self._broker.connection()
        async with self._audit.recorded(connection, viewer, verb, target, order) as entry:
            if not target.name and not verb.startswith("create-"):
                raise ValidationException(f"{TARGETS[verb.rpartition('-')[2]]} is missing")
            told = await known.do(connection, target._replace(by=viewer.name), order)
            entry.reason = str(told)
        self._changed()
        queue = target.queue if verb == "enqueue-job" and not is_new_id(target.name) else ""
        return ActionResult(told, _page(verb, known, target), queue)

    async def each(self, viewer: Viewer, verb: str, job_ids: list[str]) -> ActionResult:
        """Do the same to chosen jobs, and say with how many it was done.

        Raises:
            ValidationException: None were chosen, or too many.
            PermissionDeniedException: The viewer may not.
        """
        chosen = list(dict.fromkeys(job_ids))
        self._audit.require(viewer, bulk_action(verb), f"{verb}-job", " ".join(chosen))
        if not chosen:
            raise ValidationException("no job is selected")
        if len(chosen) > MOST_CHOSEN:
            raise ValidationException(f"{len(chosen)} jobs are too many to select one by one: use all that match")
        connection = await self._broker.connection()
        room, refusals = asyncio.Semaphore(AT_ONCE), [""]

        async def act(job_id: str) -> bool:
            try:
                own_id, _, queue = job_id.partition("@")
                async with room, self._audit.recorded(connection, viewer, f"{verb}-job", Target(own_id, queue)) as entry:
                    done = await _ONE[verb](connection, job_id)
                    entry.reason = "" if done else "it had already ended"
            except NaqError as error:
                refusals.append(str(error))
                return False
            return done

        done = sum(await asyncio.gather(*(act(job_id) for job_id in chosen)))
        self._changed()
        left = len(chosen) - done
        jobs = said_of(done, *DONE[verb])
        if not left:
            return ActionResult(said("%(jobs)s.", jobs=jobs))
        reason = refusals[-1] or said("they had already ended")
        return ActionResult(said("%(jobs)s. %(count)s left as they are: %(reason)s", jobs=jobs, count=left, reason=reason))

    async def stacks(self, viewer: Viewer, worker_id: str) -> str:
        """Return what a worker is doing, as `manage.worker_stacks`; that somebody looked is noted, what they saw is not.

        Raises:
            PermissionDeniedException: The viewer may not.
            NaqError: The worker does not answer, or it cannot be noted.
        """
        self._audit.require(viewer, Action.STACK_WORKER, "stack-worker", worker_id)
        connection = await self._broker.connection()
        async with self._audit.recorded(connection, viewer, "stack-worker", worker_id):
            return await manage.worker_stacks(connection, worker_id)

    async def bulk(self, viewer: Viewer, verb: str, wanted: JobFilter, expected: int | None = None) -> BulkRun:
        """Begin the same for every job that a filter matches, as `BulkRuns.begin`."""
        return await self.runs.begin(await self._broker.connection(), viewer, verb, wanted, expected)

    async def close(self) -> None:
        """Stop what is under way."""
        await self.runs.close()


def _page(verb: str, known: Verb, target: Target) -> tuple[str, ...]:
    """Return the page to go to, if it is another than the one that the action came from."""
    match verb:
        case "enqueue-job":
            return ("jobs", target.name)
        case "create-schedule" | "edit-schedule":
            return ("schedules", target.name) if target.name else ("schedules",)
        case _:
            return (known.leads_to,) if known.leads_to else ()


async def _retried(connection: Connection, job_id: str) -> bool:
    await manage.retry_job(connection, job_id)
    return True


async def _cancelled(connection: Connection, job_id: str) -> bool:
    return await manage.cancel_job(connection, job_id) is not CancelOutcome.ALREADY_ENDED


async def _deleted(connection: Connection, job_id: str) -> bool:
    await manage.delete_job(connection, job_id)
    return True


_ONE: dict[str, Callable[[Connection, str], Awaitable[bool]]] = {"retry": _retried, "cancel": _cancelled, "delete": _deleted}
