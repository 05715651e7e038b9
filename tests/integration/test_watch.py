"""Following a bucket: everything there, every change, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from naq_core import Connection, Settings
from naq_core.server import EmbeddedServer
from naq_core.storage.topology import ensure_schedules
from naq_core.transport import watch as watch_module
from naq_core.transport.buckets import list_documents, read_document, write_document
from naq_core.transport.watch import Change, Watch
from tests.support.eventually import eventually


class Follower:
    """Keeps what a watch has told."""

    def __init__(self) -> None:
        self.there: dict[str, bytes] = {}
        self.resets = 0

    def on_change(self, change: Change) -> None:
        if change.data:
            self.there[change.key] = change.data
        else:
            self.there.pop(change.key, None)

    def on_reset(self) -> None:
        self.there.clear()
        self.resets += 1

    async def shows(self, expected: dict[str, bytes], timeout: float = 10) -> None:
        def check() -> None:
            assert self.there == expected

        await eventually(check, timeout)


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with Connection(settings) as opened:
        await ensure_schedules(opened)
        yield opened


@asynccontextmanager
async def following(connection: Connection) -> AsyncIterator[tuple[Watch, Follower]]:
    follower, names = Follower(), connection.names
    watch = Watch(connection, names.schedules_stream, names.schedule("*"), follower.on_change, follower.on_reset)
    task = asyncio.create_task(watch.run())
    try:
        await asyncio.wait_for(watch.ready.wait(), 10)
        yield watch, follower
    finally:
        task.cancel()
        await asyncio.wait([task])


async def put(connection: Connection, key: str, data: bytes) -> None:
    stream, subject = connection.names.schedules_stream, connection.names.schedule(key)
    revision = (await read_document(connection, stream, subject)).revision
    assert await write_document(connection, subject, data, revision)


async def test_what_is_there_is_told_before_it_is_ready_and_changes_after(connection: Connection) -> None:
    await put(connection, "a", b"1")
    await put(connection, "a", b"2")
    await put(connection, "b", b"1")
    async with following(connection) as (_, follower):
        assert follower.there == {"a": b"2", "b": b"1"}
        await put(connection, "b", b"2")
        await put(connection, "c", b"1")
        await put(connection, "a", b"")
        await follower.shows({"b": b"2", "c": b"1"})


async def test_an_empty_bucket_is_ready_at_once(connection: Connection) -> None:
    async with following(connection) as (_, follower):
        assert follower.there == {}


async def test_a_message_that_was_lost_is_noticed(connection: Connection) -> None:
    await put(connection, "a", b"1")
    async with following(connection) as (watch, follower):
        watch._count += 1  # as if one had not arrived
        await put(connection, "b", b"1")
        await put(connection, "c", b"1")
        await follower.shows({"a": b"1", "b": b"1", "c": b"1"})
        assert follower.resets == 1


async def test_the_silence_of_a_consumer_that_was_deleted_is_noticed(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "PATIENCE", 0.3)
    async with following(connection) as (_, follower):
        await delete_consumers(connection)
        await put(connection, "a", b"1")
        await follower.shows({"a": b"1"})


async def test_a_stream_that_was_made_anew_is_followed_from_its_beginning(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "PATIENCE", 0.5)
    for number in range(5):
        await put(connection, f"old{number}", b"1")

    async def make_anew() -> None:
        stream = connection.names.schedules_stream
        await connection.api(f"STREAM.DELETE.{stream}")
        connection.ready.discard(stream)
        await ensure_schedules(connection)

    async with following(connection) as (_, follower):
        await make_anew()
        await put(connection, "new", b"1")
        await follower.shows({"new": b"1"}, 20)


async def test_what_happened_while_the_server_was_away_is_told(namespace: str) -> None:
    with EmbeddedServer() as server:
        settings = Settings.load(nats_url=server.url, namespace=namespace)
        async with Connection(settings) as connection, Connection(settings) as other:
            await ensure_schedules(connection)
            await put(other, "a", b"1")
            async with following(connection) as (_, follower):
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.restart)
                await put(other, "a", b"2")
                await put(other, "b", b"1")
                await follower.shows({"a": b"2", "b": b"1"}, 20)


async def test_a_large_bucket_is_told_whole_and_listed_whole(connection: Connection) -> None:
    names = connection.names
    sent = [await connection.publisher.send(names.schedule(f"s{number}"), b"x" * 200, {}) for number in range(2500)]
    await asyncio.gather(*sent)
    async with following(connection) as (_, follower):
        assert len(follower.there) == 2500
    assert len({each.subject for each in await list_documents(connection, names.schedules_stream, names.schedule("*"))}) == 2500


async def delete_consumers(connection: Connection) -> None:
    stream = connection.names.schedules_stream
    answer = await connection.api(f"CONSUMER.NAMES.{stream}", {})
    for name in answer["consumers"]:
        await connection.api(f"CONSUMER.DELETE.{stream}.{name}")
