"""Workflows: lists of them, and one with all its jobs."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from naq_core.errors import InvalidOptionError, UnreadableError
from naq_core.inspect._compose import view_of
from naq_core.masks import Mask, masked
from naq_core.names import check_workflow_id
from naq_core.record import JobRecord
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key
from naq_core.storage.records import stored_of
from naq_core.storage.subjects import state_of_subject
from naq_core.storage.workflows import Head, Member, read_ids, read_workflow
from naq_core.transport.direct import Entry
from naq_core.transport.many import read_many
from naq_core.transport.message import Message
from naq_core.values import exact_text, whole
from naq_core.views import JobView, WorkflowPage, WorkflowView

UNKNOWN = "unknown"
"""Counts jobs of which neither message nor record is left."""


async def list_workflows(connection: Connection, limit: int = 20, cursor: str | None = None) -> WorkflowPage:
    """Return a page of workflows, the newest first, with the counts of their jobs' states but without the jobs.

    The short heads of all workflows that are kept are read for it, and the records of the jobs of those on the page.

    Args:
        limit: The most workflows on the page, 1 to 200.
        cursor: What the page before this one returned.

    Raises:
        InvalidOptionError: The limit is out of range, or the cursor is of another list.
    """
    limit = whole(limit, "limit", 1, 200)
    if cursor is not None and not re.fullmatch(r"[0-9]{1,20}", exact_text(cursor) or ""):
        raise InvalidOptionError("cursor", f"{cursor!r} is not a cursor of a list of workflows")
    heads = [each for each in await read_ids(connection) if cursor is None or each[1] < int(cursor)]
    views: list[WorkflowView] = []
    for workflow_id, _ in heads[:limit]:
        view = await _read(connection, workflow_id)
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
    view = await _read(connection, check_workflow_id(workflow_id))
    view.jobs = [masked(each, mask) for each in view.jobs]
    return view


async def _read(connection: Connection, workflow_id: str) -> WorkflowView:
    """Return a workflow; of one that cannot be read, its id and the reason."""
    try:
        head, members = await read_workflow(connection, workflow_id)
    except UnreadableError as error:
        return WorkflowView(workflow_id=workflow_id, unreadable=str(error))
    return await _view(connection, workflow_id, head, members)


async def _view(connection: Connection, workflow_id: str, head: Head, members: Sequence[Member]) -> WorkflowView:
    keys = [(member.queue, member.job_id) for member in members]
    messages = await read_job_messages(connection, keys)
    records = await read_job_records(connection, keys)
    jobs: list[JobView] = []
    for member, key in zip(members, keys, strict=True):
        record, message = records.get(key), messages.get(key)
        if record is None and message is None:
            continue
        entry = None if message is None else Entry(message.subject, message.sequence, "", message.headers, message.data)
        view = view_of(record, entry)
        view.parents = member.parents
        jobs.append(view)
    children: dict[str, list[str]] = {}
    for member in members:
        for parent in member.parents:
            children.setdefault(parent, []).append(member.job_id)
    for job in jobs:
        job.children = children.get(job.job_id, [])
    counts = Counter(job.state.value for job in jobs)
    if len(jobs) < max(len(members), head.total):
        counts[UNKNOWN] = max(len(members), head.total) - len(jobs)
    return WorkflowView(
        workflow_id=workflow_id,
        name=head.name,
        created_at=datetime.fromtimestamp(head.created_at, UTC) if head.created_at else None,
        counts=dict(counts),
        total=max(len(members), head.total),
        jobs=jobs,
    )


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
