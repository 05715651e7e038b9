"""Actions on many jobs: they go on in this process when the browser has gone, say how far they are, and can be stopped."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from litestar.exceptions import NotFoundException, ValidationException

from naq_core import manage
from naq_core.audit import Recording
from naq_core.errors import NaqError
from naq_core.filters import describe_filter
from naq_core.inspect import count_jobs
from naq_core.manage.bulk import MEANT
from naq_core.masks import Mask
from naq_core.names import new_id
from naq_core.storage.connection import Connection
from naq_core.tasks import Background
from naq_core.views import JobFilter
from naq_core.wording import counted
from naq_dashboard.access.roles import Action, Viewer
from naq_dashboard.actions.audit import Audit
from naq_dashboard.languages import N_forms, Sentence, said, said_of

__all__ = ["BULK", "DONE", "BulkRun", "BulkRuns", "bulk_action"]

log = logging.getLogger(__name__)

MOST_AT_ONCE = 20
KEPT = 50
COUNTED = 5_000
"""Entries looked at to find out how many jobs there are to come."""

BULK: dict[str, Action] = {"retry": Action.RETRY_JOB, "cancel": Action.CANCEL_JOB, "delete": Action.DELETE_JOB}
DONE = {
    "retry": N_forms("%(count)s job requeued", "%(count)s jobs requeued"),
    "cancel": N_forms("%(count)s job cancelled", "%(count)s jobs cancelled"),
    "delete": N_forms("%(count)s job deleted", "%(count)s jobs deleted"),
}


class _StoppedError(Exception):
    """Somebody has asked for it; nothing is left half done."""


@dataclass(slots=True)
class BulkRun:
    """A bulk action, while it runs and after."""

    run_id: str
    verb: str
    by: str
    started_at: datetime
    filter: str = ""
    done: int = 0
    expected: int | None = None
    ended_at: datetime | None = None
    error: str = ""
    stopped_by: str | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def sentence(self) -> Sentence:
        """The progress, as a sentence."""
        jobs = said_of(self.done, *DONE[self.verb])
        if self.error:
            return said("Stopped after %(jobs)s: %(error)s", jobs=jobs, error=self.error)
        if self.ended_at:
            return said("%(jobs)s.", jobs=jobs)
        if self.stopped_by is None:
            return said("%(jobs)s so far.", jobs=jobs)
        return said("%(jobs)s so far. It is being stopped.", jobs=jobs)

    @property
    def action(self) -> Action:
        """The permission that beginning or stopping it requires."""
        return BULK[self.verb]


def bulk_action(verb: str) -> Action:
    """Return the permission that a bulk action requires.

    Raises:
        ValidationException: There is no such bulk action.
    """
    action = BULK.get(verb)
    if action is None:
        raise ValidationException(f"unknown bulk action {verb!r}; use {', '.join(BULK)}")
    return action


class BulkRuns:
    """The bulk actions of this process."""

    def __init__(self, audit: Audit, mask: Mask, changed: Callable[[], None]) -> None:
        self._audit = audit
        self._mask = mask
        self._changed = changed
        self._runs: OrderedDict[str, BulkRun] = OrderedDict()
        self._background = Background()

    def get(self, run_id: str) -> BulkRun | None:
        """Return a bulk action by its id; ended ones are kept for a while."""
        return self._runs.get(run_id)

    def under_way(self) -> list[BulkRun]:
        """Return the bulk actions that have not ended, the oldest first."""
        return [run for run in self._runs.values() if run.ended_at is None]

    async def begin(
        self, connection: Connection, viewer: Viewer, verb: str, wanted: JobFilter, expected: int | None = None
    ) -> BulkRun:
        """Begin a bulk action, once it is in the audit trail.

        Args:
            expected: The most jobs that may match, if that was said.

        Raises:
            ValidationException: There is no such action, more jobs match than expected, or too many of these are under way.
            PermissionDeniedException: The viewer may not.
            NaqError: It cannot be noted.
        """
        meant = describe_filter(wanted)
        self._audit.require(viewer, bulk_action(verb), f"{verb}-jobs", meant)
        if len(self.under_way()) >= MOST_AT_ONCE:
            raise ValidationException(f"{MOST_AT_ONCE} bulk actions are running: wait for one to end, or stop one")
        if expected is None:
            matching = await count_jobs(connection, _with_states(wanted, verb), COUNTED, mask=self._mask)
            expected = matching.count if matching.is_exact else None
        else:
            matching = await count_jobs(connection, wanted, mask=self._mask)
            if matching.count > expected:
                raise ValidationException(f"{counted(matching.count, 'job')} found now, more than the {expected} expected")
        run = BulkRun(new_id(), verb, viewer.name, datetime.now(UTC), filter=meant, expected=expected)
        stack = AsyncExitStack()
        entry = await stack.enter_async_context(self._audit.recorded(connection, viewer, f"{verb}-jobs", meant or "all"))
        self._keep(run)
        work = self._carry_out(connection, run, wanted, stack, entry)
        run.task = self._background.start(work, "naq-dashboard-bulk")
        await asyncio.sleep(0)  # what is cancelled before it has begun would leave its entry without an end
        return run

    def stop(self, viewer: Viewer, run_id: str) -> BulkRun:
        """Let a bulk action end after the jobs in progress, some hundreds at most; finished ones are not undone.

        Raises:
            NotFoundException: There is nothing with this id.
            PermissionDeniedException: The viewer may not do what it does.
        """
        run = self._runs.get(run_id)
        if run is None:
            raise NotFoundException(f"there is no bulk action {run_id[:60]!r} in this process")
        self._audit.require(viewer, run.action, f"{run.verb}-jobs", f"stop {run_id}")
        if run.ended_at is None and run.stopped_by is None:
            run.stopped_by = viewer.name
            log.info("bulk %s %s is being stopped by %r", run.verb, run_id, viewer.name)
            self._changed()
        return run

    async def close(self) -> None:
        """Stop the running bulk actions; they can be begun again."""
        await self._background.close()

    def _keep(self, run: BulkRun) -> None:
        self._runs[run.run_id] = run
        ended = [each.run_id for each in self._runs.values() if each.ended_at is not None]
        for run_id in ended[: max(0, len(self._runs) - KEPT)]:
            del self._runs[run_id]

    async def _carry_out(
        self, connection: Connection, run: BulkRun, wanted: JobFilter, stack: AsyncExitStack, entry: Recording
    ) -> None:
        def count(done: int) -> None:
            run.done = done
            self._changed()
            if run.stopped_by is not None:
                raise _StoppedError

        try:
            async with stack:
                try:
                    run.done = await manage.bulk(
                        connection,
                        run.verb,  # type: ignore[arg-type]  # checked
                        wanted,
                        on_progress=count,
                        mask=self._mask,
                    )
                except _StoppedError:
                    run.error = f"by {run.stopped_by or 'an anonymous user'}"
                    entry.outcome = "stopped"
                entry.reason = str(run.sentence).replace(" so far", "")
        except NaqError as error:
            run.error = str(error)
            log.warning("bulk %s stopped after %d jobs: %s", run.verb, run.done, error)
        finally:
            run.ended_at = datetime.now(UTC)
            self._changed()


def _with_states(wanted: JobFilter, verb: str) -> JobFilter:
    return wanted if wanted.states else msgspec.structs.replace(wanted, states=MEANT[verb])
