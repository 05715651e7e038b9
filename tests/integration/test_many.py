"""Reading many messages at once: the server ends an answer that has grown too large (64 MiB), which must not go unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from naq_core import Connection, JobRecord, JobState, Settings
from naq_core.storage.records import write_record
from naq_core.storage.topology import ensure_queue
from naq_core.transport.buckets import list_documents
from naq_core.transport.direct import count_many, get_many
from naq_core.transport.many import read_all, read_many, read_some

PARENTS = 290
AT_ONCE = 30
SIZE = 240 * 1024
"""Below the threshold from which a result goes to the object store."""


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with Connection(settings) as opened:
        await ensure_queue(opened, "default")
        yield opened


@pytest.fixture
async def parents(connection: Connection) -> list[tuple[str, str]]:
    """Store the records of many jobs with results of much size."""
    ids = [f"parent{number}" for number in range(PARENTS)]
    records = [
        JobRecord(state=JobState.SUCCEEDED, job_id=each, queue="default", function="work:big", attempt=1, result=b"x" * SIZE)
        for each in ids
    ]
    for start in range(0, PARENTS, AT_ONCE):  # 70 MB at once take a busy server longer than a connection waits for a sign of life
        some = records[start : start + AT_ONCE]
        assert None not in await asyncio.gather(*(write_record(connection, record, 0) for record in some))
    return [("default", each) for each in ids]


async def test_the_records_of_many_jobs_with_large_results_are_all_read(
    connection: Connection, parents: list[tuple[str, str]]
) -> None:
    names = connection.names
    subjects = [names.result(*key) for key in parents]

    found = await read_many(connection, names.results_stream, subjects, f"{names.results}.>")

    assert sorted(message.subject for message in found) == sorted(subjects)


async def test_large_messages_under_one_wildcard_are_all_read(connection: Connection, parents: list[tuple[str, str]]) -> None:
    names = connection.names
    subjects = {names.result(*key) for key in parents}

    found = await read_many(connection, names.results_stream, [names.result("default", "*")], f"{names.results}.>")
    assert {message.subject for message in found} == subjects

    listed = await list_documents(connection, names.results_stream, names.result("default", "*"))
    assert {entry.subject for entry in listed} == subjects


async def test_nothing_is_found_in_a_stream_that_does_not_exist(naq_connection: Connection) -> None:
    """The reader has not created the namespace, and nobody else has: there is nothing to wait for."""
    names = naq_connection.names
    stream, subject = names.jobs_stream, names.dead("default", "*")
    assert await count_many(naq_connection, stream, [subject]) == [0]
    assert await get_many(naq_connection, stream, [{"seq": 1}, {"last_by_subj": subject}]) == [None, None]
    assert await read_many(naq_connection, stream, [subject], subject) == []
    assert await read_all(naq_connection, stream, subject) == []
    assert (await read_some(naq_connection, stream, subject, 10)).messages == []
