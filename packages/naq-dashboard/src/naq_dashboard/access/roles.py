"""Who may do what: actions, and roles as sets of them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Action(StrEnum):
    """Something that changes something. Every handler of an unsafe method names its own; without one it is refused."""

    ENQUEUE_JOB = "enqueue-job"
    RETRY_JOB = "retry-job"
    CANCEL_JOB = "cancel-job"
    RUN_JOB = "run-job"
    DELETE_JOB = "delete-job"
    PAUSE_QUEUE = "pause-queue"
    RESUME_QUEUE = "resume-queue"
    LIMIT_QUEUE = "limit-queue"
    PURGE_QUEUE = "purge-queue"
    DELETE_QUEUE = "delete-queue"
    QUIET_WORKER = "quiet-worker"
    RESIZE_WORKER = "resize-worker"
    STACK_WORKER = "stack-worker"
    STOP_WORKER = "stop-worker"
    TRIGGER_SCHEDULE = "trigger-schedule"
    PAUSE_SCHEDULE = "pause-schedule"
    EDIT_SCHEDULE = "edit-schedule"
    DELETE_SCHEDULE = "delete-schedule"
    RETRY_WORKFLOW = "retry-workflow"
    CANCEL_WORKFLOW = "cancel-workflow"
    SEND_SIGNAL = "send-signal"
    MARK_DEPLOY = "mark-deploy"


Access: TypeAlias = frozenset[Action]

VIEWER: Access = frozenset()
OPERATOR: Access = frozenset(
    {
        Action.RETRY_JOB,
        Action.CANCEL_JOB,
        Action.RUN_JOB,
        Action.PAUSE_QUEUE,
        Action.RESUME_QUEUE,
        Action.QUIET_WORKER,
        Action.RESIZE_WORKER,
        Action.STACK_WORKER,
        Action.TRIGGER_SCHEDULE,
        Action.PAUSE_SCHEDULE,
        Action.RETRY_WORKFLOW,
        Action.CANCEL_WORKFLOW,
        Action.SEND_SIGNAL,
        Action.MARK_DEPLOY,
    }
)
"""What can be undone, or has been done before, and the answers for which jobs wait. Not enqueueing: who names the function can
let workers run anything."""
ADMIN: Access = frozenset(Action)

ROLES: dict[str, Access] = {"viewer": VIEWER, "operator": OPERATOR, "admin": ADMIN}


def parse_access(text: str) -> Access:
    """Read a role's name, or actions joined by `+`.

    Raises:
        ValueError: It is neither.
    """
    if text in ROLES:
        return ROLES[text]
    try:
        return frozenset(Action(word) for word in text.split("+"))
    except ValueError as error:
        known = f"{', '.join(ROLES)}, or actions joined by '+': {', '.join(Action)}"
        raise ValueError(f"{text!r} is not a role; use {known}") from error


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, and what they may do."""

    name: str
    access: Access
    by: str = "nobody"
    """How they were recognised: session, password, token, proxy, host (the embedding application), nobody."""

    def may(self, action: Action | str) -> bool:
        """Whether the action is allowed."""
        return action in self.access
