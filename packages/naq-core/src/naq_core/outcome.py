"""What a callback is given: how a job has ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from naq_core.envelope import EndedJob
from naq_core.errors import DecodeError, NaqError
from naq_core.record import AttemptError, JobState
from naq_core.serialization import decode_result


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a job has ended, at the moment of its end: the first argument of a callback."""

    job_id: str
    state: JobState
    """SUCCEEDED, DEAD, CANCELLED or EXPIRED."""
    queue: str = "default"
    function: str = ""
    """Its name, as `module:qualname`."""
    attempts: int = 0
    """How many attempts were made; 0 if it was never started."""
    error: AttemptError | None = None
    """The last error of a dead job: `type`, `message` and `traceback`, as text."""
    reason: str = ""
    """Why it was cancelled, where somebody said so."""
    arguments: str = ""
    """A preview of its arguments, for people."""
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    """When its last attempt began; None if it was never started."""
    ended_at: datetime | None = None
    workflow: str = ""
    schedule: str = ""
    tags: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    result_text: str = ""
    """A preview of its result, for people."""
    _result: tuple[str, bytes, str] | None = field(default=None, repr=False)
    """Content type and bytes of the result, and what may be decoded here."""

    @property
    def is_success(self) -> bool:
        """Whether it has succeeded."""
        return self.state is JobState.SUCCEEDED

    @property
    def result(self) -> Any:
        """What it returned.

        Raises:
            NaqError: It did not succeed, or the result is not passed on. DecodeError: The result cannot be read here.
        """
        if self._result is None:
            problem = "it was too large to be passed on, or its signature is wrong" if self.is_success else self.state
            raise NaqError(f"job {self.job_id} has no result: {problem}")
        kind, data, serializer = self._result
        return decode_result(kind, data, serializer)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it, without tracebacks. A result that JSON cannot hold is null; `result_text` shows it."""
        error = None if self.error is None else {"type": self.error.type, "message": self.error.message}
        return {
            "job_id": self.job_id,
            "queue": self.queue,
            "function": self.function,
            "state": str(self.state),
            "attempts": self.attempts,
            "result": self._json_result(),
            "result_text": self.result_text,
            "error": error,
            "reason": self.reason,
            "enqueued_at": _text(self.enqueued_at),
            "started_at": _text(self.started_at),
            "ended_at": _text(self.ended_at),
            "workflow": self.workflow,
            "schedule": self.schedule,
            "tags": list(self.tags),
        }

    def _json_result(self) -> Any:
        if self._result is None:
            return None
        try:
            found = self.result
            msgspec.json.encode(found)
        except (DecodeError, TypeError, ValueError, RecursionError):
            return None
        return found


def outcome_of(end: EndedJob, serializer: str) -> JobOutcome:
    """Return what a callback is given.

    Args:
        serializer: What may be decoded here.

    Raises:
        DecodeError: It names a state that does not exist.
    """
    try:
        state = JobState(end.state)
    except ValueError:
        raise DecodeError(f"the callback names the state {end.state[:100]!r} of its job, which does not exist") from None
    kind, message, traceback = end.error
    return JobOutcome(
        job_id=end.id,
        state=state,
        queue=end.queue,
        function=end.function,
        attempts=end.attempts,
        error=AttemptError(kind, message, traceback, attempt=end.attempts, at=end.ended_at) if kind else None,
        reason=end.reason,
        arguments=end.arguments,
        enqueued_at=_time(end.enqueued_at),
        started_at=_time(end.started_at),
        ended_at=_time(end.ended_at),
        workflow=end.workflow,
        schedule=end.schedule,
        tags=end.tags,
        headers=end.headers,
        result_text=end.result_text,
        _result=(end.result_type, end.result, serializer) if state is JobState.SUCCEEDED and end.result_type else None,
    )


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


__all__ = ["JobOutcome", "outcome_of"]
