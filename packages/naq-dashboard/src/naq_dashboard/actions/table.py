"""What the dashboard can change: one table of verbs for its forms and its API, with rights, audit and progress."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from litestar.exceptions import ValidationException

from naq_core import manage, schedules
from naq_core.errors import NaqError
from naq_core.filters import parse_instant
from naq_core.manage import CancelOutcome
from naq_core.masks import Mask
from naq_core.names import is_new_id, new_id
from naq_core.settings import parse_duration
from naq_core.storage.connection import Connection
from naq_core.views import JobFilter
from naq_core.wording import counted, were
from naq_dashboard.access.roles import Action, Viewer
from naq_dashboard.actions.audit import Audit
from naq_dashboard.actions.bulk import DONE, BulkRun, BulkRuns, bulk_action
from naq_dashboard.actions.enqueue import enqueue_job
from naq_dashboard.actions.schedules import create_schedule, edit_schedule
from naq_dashboard.nats import Broker

__all__ = ["VERBS", "ActionResult", "Operations"]

MOST_CHOSEN = 500
AT_ONCE = 16
TARGETS = {"job": "job_id", "queue": "queue", "worker": "worker_id", "schedule": "schedule_id", "workflow": "workflow_id"}
"""Which word names the target of a kind of action."""

Words: TypeAlias = Mapping[str, str]
Verb: TypeAlias = Callable[[Connection, Words], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of an action as a sentence, and the page to go to if not back."""

    notice: str
    place: tuple[str, ...] = ()
    queue: str = ""
    """Of the job whose page the place is, where its id alone may not tell it."""


class Operations:
    """Carries actions out for those who may."""

    def __init__(self, broker: Broker, audit: Audit, mask: Mask, changed: Callable[[], None]) -> None:
        self._broker = broker
        self._changed = changed
        self._audit = audit
        self.runs = BulkRuns(audit, mask, changed)

    async def perform(self, viewer: Viewer, verb: str, words: Words) -> ActionResult:
        """Do one thing.

        Raises:
            ValidationException: There is no such verb, or a word is missing or wrong.
            PermissionDeniedException: The viewer may not.
            NaqError: It cannot be done, or not be noted.
        """
        known = VERBS.get(verb)
        if known is None:
            raise ValidationException(f"unknown action {verb!r}")
        action, function = known
        if action is Action.ENQUEUE_JOB and not words.get("job_id", "").strip():
            words = {**words, "job_id": new_id()}
        target = words.get(TARGETS[verb.rpartition("-")[2]], "").strip()
        self._audit.require(viewer, action, verb, target)
        connection = await self._broker.connection()
        async with self._audit.recorded(connection, viewer, verb, target, words) as entry:
            entry.reason = notice = await function(connection, words)
        self._changed()
        queue = words.get("queue", "") if verb == "enqueue-job" and not is_new_id(words["job_id"].strip()) else ""
        return ActionResult(notice, _place(verb, words), queue)

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
                words = {"queue": queue} if queue else None
                async with room, self._audit.recorded(connection, viewer, f"{verb}-job", own_id, words) as entry:
                    done = await _ONE[verb](connection, job_id)
                    entry.reason = "" if done else "it had already ended"
            except NaqError as error:
                refusals.append(str(error))
                return False
            return done

        done = sum(await asyncio.gather(*(act(job_id) for job_id in chosen)))
        self._changed()
        left = len(chosen) - done
        return ActionResult(
            f"{counted(done, 'job')} {DONE[verb]}."
            + (f" {left} left as they are: {refusals[-1] or 'they had already ended'}" if left else "")
        )

    async def bulk(self, viewer: Viewer, verb: str, wanted: JobFilter, expected: int | None = None) -> BulkRun:
        """Begin the same for every job that a filter matches, as `BulkRuns.begin`."""
        return await self.runs.begin(await self._broker.connection(), viewer, verb, wanted, expected)

    async def close(self) -> None:
        """Stop what is under way."""
        await self.runs.close()


def _place(verb: str, words: Words) -> tuple[str, ...]:
    """Return where to go when the page that the action came from shows nothing any more."""
    match verb:
        case "create-schedule" if not words.get("schedule_id", "").strip():
            return ("schedules",)
        case "create-schedule" | "edit-schedule":
            return ("schedules", words["schedule_id"].strip())
        case "enqueue-job":
            return ("jobs", words["job_id"].strip())
        case "delete-schedule":
            return ("schedules",)
        case "delete-queue":
            return ("queues",)
        case "delete-job":
            return ("jobs",)
        case _:
            return ()


def _word(words: Words, name: str) -> str:
    value = words.get(name, "").strip()
    if not value:
        raise ValidationException(f"{name} is missing")
    return value


def _job(words: Words) -> str:
    """Return the id of a job, with its queue where that is said."""
    job_id, queue = _word(words, "job_id"), words.get("queue", "").strip()
    return f"{job_id}@{queue}" if queue and "@" not in job_id else job_id


def _confirmed(words: Words, name: str) -> str:
    """Return the name of what is to be destroyed, which must have been typed again."""
    value = _word(words, name)
    if words.get("confirm", "").strip() != value:
        raise ValidationException(f"to confirm, type the name exactly: {value}")
    return value


def _until(words: Words, now: datetime) -> datetime | None:
    text = words.get("duration", "").strip()
    if not text:
        return None
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise ValidationException(f"duration {error}") from error
    if length <= timedelta(0):
        raise ValidationException("duration must be positive")
    return now + length


async def _retry_job(connection: Connection, words: Words) -> str:
    await manage.retry_job(connection, _job(words))
    return "The job is requeued."


async def _cancel_job(connection: Connection, words: Words) -> str:
    outcome = await manage.cancel_job(connection, _job(words), words.get("reason", ""))
    return {
        CancelOutcome.BEFORE_START: "The job is cancelled and will not run.",
        CancelOutcome.WHILE_RUNNING: "The job is cancelled; its worker was asked to stop it.",
        CancelOutcome.ALREADY_ENDED: "The job had already ended; nothing was changed.",
    }[outcome]


async def _delete_job(connection: Connection, words: Words) -> str:
    await manage.delete_job(connection, _job(words))
    return "The job and its record are deleted."


async def _run_job(connection: Connection, words: Words) -> str:
    await manage.run_now(connection, _job(words))
    return "The job is ready now."


async def _reschedule_job(connection: Connection, words: Words) -> str:
    at = parse_instant(_word(words, "duration"), now=connection.clock.utc(), setting="duration", ahead=True)
    await manage.reschedule(connection, _job(words), at)
    return f"The job is due at {at:%Y-%m-%d %H:%M:%S} UTC."


async def _pause_queue(connection: Connection, words: Words) -> str:
    queue, until = _word(words, "queue"), _until(words, connection.clock.utc())
    await manage.pause_queue(connection, queue, until)
    return f"Queue {queue} is paused{f' until {until:%H:%M:%S} UTC' if until else ''}; running jobs continue."


async def _resume_queue(connection: Connection, words: Words) -> str:
    queue = _word(words, "queue")
    await manage.resume_queue(connection, queue)
    return f"Queue {queue} is resumed."


async def _limit_queue(connection: Connection, words: Words) -> str:
    queue, text = _word(words, "queue"), words.get("limit", "").strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValidationException(f"limit must be an integer, or empty for no limit, not {text[:40]!r}")
    await manage.set_queue_limit(connection, queue, int(text) if text else None)
    return f"Queue {queue} runs at most {counted(int(text), 'job')} at once." if text else f"Queue {queue} no longer has a limit."


async def _purge_queue(connection: Connection, words: Words) -> str:
    queue = _confirmed(words, "queue")
    count = await manage.purge_queue(connection, queue)
    return f"{counted(count, 'job')} of queue {queue} {were(count)} deleted."


async def _delete_queue(connection: Connection, words: Words) -> str:
    queue = _word(words, "queue")
    await manage.delete_queue(connection, queue)
    return f"Queue {queue} is deleted."


async def _quiet_worker(connection: Connection, words: Words) -> str:
    await manage.quiet_worker(connection, _word(words, "worker_id"))
    return "The worker takes no new jobs and finishes its running ones."


async def _resume_worker(connection: Connection, words: Words) -> str:
    await manage.resume_worker(connection, _word(words, "worker_id"))
    return "The worker takes jobs again."


async def _stop_worker(connection: Connection, words: Words) -> str:
    await manage.stop_worker(connection, _word(words, "worker_id"))
    return "The worker is stopping: it waits for running jobs up to its grace time and requeues the rest."


async def _trigger_schedule(connection: Connection, words: Words) -> str:
    job_id = await schedules.trigger_schedule(connection, _word(words, "schedule_id"))
    return f"Enqueued now as {job_id}."


async def _pause_schedule(connection: Connection, words: Words) -> str:
    view = await schedules.pause_schedule(connection, _word(words, "schedule_id"))
    return f"Schedule {view.schedule_id} is paused."


async def _resume_schedule(connection: Connection, words: Words) -> str:
    view = await schedules.resume_schedule(connection, _word(words, "schedule_id"))
    return f"Schedule {view.schedule_id} fires again."


async def _delete_schedule(connection: Connection, words: Words) -> str:
    schedule_id = _word(words, "schedule_id")
    await schedules.delete_schedule(connection, schedule_id)
    return f"Schedule {schedule_id} is deleted; its jobs are kept."


async def _retry_workflow(connection: Connection, words: Words) -> str:
    count = await manage.retry_workflow(connection, _word(words, "workflow_id"))
    return f"{counted(count, 'job')} of the workflow requeued."


async def _cancel_workflow(connection: Connection, words: Words) -> str:
    count = await manage.cancel_workflow(connection, _word(words, "workflow_id"), words.get("reason", ""))
    return f"{counted(count, 'job')} of the workflow cancelled."


VERBS: dict[str, tuple[Action, Verb]] = {
    "enqueue-job": (Action.ENQUEUE_JOB, enqueue_job),
    "retry-job": (Action.RETRY_JOB, _retry_job),
    "cancel-job": (Action.CANCEL_JOB, _cancel_job),
    "delete-job": (Action.DELETE_JOB, _delete_job),
    "run-job": (Action.RUN_JOB, _run_job),
    "reschedule-job": (Action.RUN_JOB, _reschedule_job),
    "pause-queue": (Action.PAUSE_QUEUE, _pause_queue),
    "resume-queue": (Action.RESUME_QUEUE, _resume_queue),
    "limit-queue": (Action.LIMIT_QUEUE, _limit_queue),
    "purge-queue": (Action.PURGE_QUEUE, _purge_queue),
    "delete-queue": (Action.DELETE_QUEUE, _delete_queue),
    "quiet-worker": (Action.QUIET_WORKER, _quiet_worker),
    "resume-worker": (Action.QUIET_WORKER, _resume_worker),
    "stop-worker": (Action.STOP_WORKER, _stop_worker),
    "trigger-schedule": (Action.TRIGGER_SCHEDULE, _trigger_schedule),
    "pause-schedule": (Action.PAUSE_SCHEDULE, _pause_schedule),
    "resume-schedule": (Action.PAUSE_SCHEDULE, _resume_schedule),
    "create-schedule": (Action.EDIT_SCHEDULE, create_schedule),
    "edit-schedule": (Action.EDIT_SCHEDULE, edit_schedule),
    "delete-schedule": (Action.DELETE_SCHEDULE, _delete_schedule),
    "retry-workflow": (Action.RETRY_WORKFLOW, _retry_workflow),
    "cancel-workflow": (Action.CANCEL_WORKFLOW, _cancel_workflow),
}


async def _retried(connection: Connection, job_id: str) -> bool:
    await manage.retry_job(connection, job_id)
    return True


async def _cancelled(connection: Connection, job_id: str) -> bool:
    return await manage.cancel_job(connection, job_id) is not CancelOutcome.ALREADY_ENDED


async def _deleted(connection: Connection, job_id: str) -> bool:
    await manage.delete_job(connection, job_id)
    return True


_ONE: dict[str, Callable[[Connection, str], Awaitable[bool]]] = {"retry": _retried, "cancel": _cancelled, "delete": _deleted}
