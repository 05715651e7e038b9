"""Workflows: lists of them, and one with all its jobs."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from naq_core.errors import InvalidOptionError, UnreadableError, WorkflowNotFoundError
from naq_core.inspect._compose import view_of
from naq_core.masks import Mask, masked
from naq_core.names import check_workflow_id
from naq_core.record import JobRecord
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key
from naq_core.storage.records import stored_of
from naq_core.storage.subjects import state_of_subject
from naq_core.storage.workflows import Head, Member, read_ids, read_workflows
from naq_core.transport.direct import Entry
from naq_core.transport.many import read_many
from naq_core.transport.message import Message
from naq_core.values import exact_text, whole
from naq_core.views import JobView, WorkflowPage, WorkflowView

UNKNOWN = "unknown"
"""Counts jobs of which neither message nor record is left."""
MOST_TOGETHER = 1000
"""Jobs of several workflows that are read together."""
Stored: TypeAlias = tuple[Head, list[Member]] | UnreadableError


async def list_workflows(connection: Connection, limit: int = 20, cursor: str | None = None, counts: bool = True) -> WorkflowPage:
    """Return a page of workflows, the newest first, with the counts of their jobs' states but without the jobs.

    The short heads of all workflows that are kept are read for it, and the records of the jobs of those on the page.

    Args:
        limit: The most workflows on the page, 1 to 200.
        cursor: What the page before this one returned.
        counts: Whether to count the states of the jobs. Otherwise no job is read.

    Raises:
        InvalidOptionError: The limit is out of range, or the cursor is of another list.
    """
    limit = whole(limit, "limit", 1, 200)
    if cursor is not None and not re.fullmatch(r"[0-9]{1,20}", exact_text(cursor) or ""):
        raise InvalidOptionError("cursor", f"{cursor!r} is not a cursor of a list of workflows")
    heads = [each for each in await read_ids(connection) if cursor is None or each[1] < int(cursor)]
    views: list[WorkflowView] = []
    for group in _together(await read_workflows(connection, [workflow_id for workflow_id, _ in heads[:limit]])):
        for view in await _views(connection, group) if counts else map(_empty, group):
            view.jobs = []
            views.append(view)
    return WorkflowPage(workflows=views, cursor=str(heads[limit - 1][1]) if len(heads) > limit else None)


async def get_workflow(connection: Connection, workflow_id: str, mask: Mask | None = None) -> WorkflowView:
    """Return a workflow with its jobs, parents before children as they were added.

    Args:
        mask: As of `list_jobs`.

    Raises:
        WorkflowNotFoundError: No workflow of this id is known (any more).
    """
    found = await read_workflows(connection, [check_workflow_id(workflow_id)])
    if not found:
        raise WorkflowNotFoundError(workflow_id)
    (view,) = await _views(connection, list(found.items()))
    view.jobs = [masked(each, mask) for each in view.jobs]
    return view


def _together(found: dict[str, Stored]) -> Iterator[list[tuple[str, Stored]]]:
    """Yield the workflows in groups, each of so few jobs that all of them can be read at once."""
    group: list[tuple[str, Stored]] = []
    size = 0
    for workflow_id, stored in found.items():
        jobs = len(_members_of(stored))
        if group and size + jobs > MOST_TOGETHER:
            yield group
            group, size = [], 0
        group.append((workflow_id, stored))
        size += jobs
    if group:
        yield group


def _members_of(stored: Stored) -> Sequence[Member]:
    return () if isinstance(stored, UnreadableError) else stored[1]


async def _views(connection: Connection, group: Sequence[tuple[str, Stored]]) -> list[WorkflowView]:
    """Return workflows with their jobs."""
    keys = [(member.queue, member.job_id) for _, stored in group for member in _members_of(stored)]
    messages = await read_job_messages(connection, keys)
    records = await read_job_records(connection, keys)
    views = [_empty(each) for each in group]
    for view, (_, stored) in zip(views, group, strict=True):
        _add_jobs(view, _members_of(stored), messages, records)
    return views


def _empty(found: tuple[str, Stored]) -> WorkflowView:
    """Return a workflow without its jobs; of one that cannot be read, its id and the reason."""
    workflow_id, stored = found
    if isinstance(stored, UnreadableError):
        return WorkflowView(workflow_id=workflow_id, unreadable=str(stored))
    head, members = stored
    return WorkflowView(
        workflow_id=workflow_id,
        name=head.name,
        created_at=datetime.fromtimestamp(head.created_at, UTC) if head.created_at else None,
        total=max(len(members), head.total),
    )


def _add_jobs(
    view: WorkflowView, members: Sequence[Member], messages: Mapping[Key, Message], records: Mapping[Key, JobRecord]
) -> None:
    jobs: list[JobView] = []
    for member in members:
        key = member.queue, member.job_id
        record, message = records.get(key), messages.get(key)
        if record is None and message is None:
            continue
        entry = None if message is None else Entry(message.subject, message.sequence, "", message.headers, message.data)
        job = view_of(record, entry)
        job.parents = member.parents
        jobs.append(job)
    children: dict[str, list[str]] = {}
    for member in members:
        for parent in member.parents:
            children.setdefault(parent, []).append(member.job_id)
    for job in jobs:
        job.children = children.get(job.job_id, [])
    counts = Counter(job.state.value for job in jobs)
    if len(jobs) < view.total:
        counts[UNKNOWN] = view.total - len(jobs)
    view.counts, view.jobs = dict(counts), jobs


async def read_job_messages(connection: Connection, keys: Sequence[Key]) -> dict[Key, Message]:
    """Return the messages of jobs that have one, live or dead."""
    names = connection.names
    subjects = [names.any_state(*key) for key in keys]
    found = await read_many(connection, names.jobs_stream, subjects, f"{names.jobs}.>")
    messages: dict[Key, Message] = {}
    for message in sorted(found, key=lambda each: each.sequence):
        _, queue, job_id = state_of_subject(message.subject)
        messages[queue, job_id] = message
    return messages


async def read_job_records(connection: Connection, keys: Sequence[Key]) -> dict[Key, JobRecord]:
    """Return the records of jobs that have one."""
    return {key: record for key, (record, _) in (await read_stored(connection, keys)).items()}


async def read_stored(connection: Connection, keys: Sequence[Key]) -> dict[Key, tuple[JobRecord, int]]:
    """Return the records of jobs that have one, with their revisions."""
    names = connection.names
    found = await read_many(connection, names.results_stream, [names.result(*key) for key in keys], f"{names.results}.>")
    stored: dict[Key, tuple[JobRecord, int]] = {}
    for message in found:
        queue, job_id = message.subject.split(".")[-2:]
        found_record = stored_of(message)
        if found_record is not None:
            stored[queue, job_id] = found_record.record, found_record.revision
    return stored
