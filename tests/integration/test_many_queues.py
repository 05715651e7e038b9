"""Levels of queues have a consumer from their first job on, and as many as are wanted: on the real server."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from naq_client import Queue
from naq_core import Connection, ConsumerLimitError, Job, Settings
from naq_core.inspect import list_queues
from naq_core.server import EmbeddedServer
from naq_core.storage.drift import check_topology
from naq_core.storage.topology import ensure_queue
from naq_worker import Worker, _levels
from tests.conftest import RunWorker
from tests.integration import work

ONE_BY_DEFAULT = "jetstream { limits { default_max_consumers: 1 } }"
TWO_FOR_ALL = "accounts { A { users: [{ user: a, password: a }], jetstream { max_consumers: 2 } } }"


async def consumers(connection: Connection) -> set[str]:
    answer = await connection.api(f"CONSUMER.NAMES.{connection.names.jobs_stream}", {})
    return set(answer["consumers"] or ())


async def test_a_worker_opens_a_level_when_its_first_job_comes(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker("default", "other"):
        assert await (await queue.enqueue(work.add, 1)).result(30) == 1
        assert await consumers(connection) == {"naq-worker-default", "naq-worker-other"}
        assert await (await queue.options(priority="high").enqueue(work.add, 2)).result(30) == 2
        assert await consumers(connection) == {"naq-worker-default", "naq-worker-other", "naq-high-default"}
        other = Queue("other", connection=connection)
        assert await (await other.options(priority="low").enqueue(work.add, 3)).result(30) == 3


@pytest.mark.parametrize("when", ["before", "while"])
async def test_jobs_on_a_level_without_a_consumer_are_found(
    when: str, queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer was deleted, and the server's advisory of it or of its successor never came."""
    if when == "while":
        monkeypatch.setattr(_levels, "follow_new_consumers", _hear_nothing)
    connection = await queue.connection()
    urgent = queue.options(priority="high")

    async def leave_alone() -> None:
        job = await urgent.enqueue(work.add, 1)
        await connection.api(f"CONSUMER.DELETE.{connection.names.jobs_stream}.naq-high-default")
        jobs.append(job)

    jobs: list[Job[int]] = []
    if when == "before":
        await leave_alone()
    async with run_worker():
        if when == "while":
            assert await (await queue.enqueue(work.add, 0)).result(30) == 0
            await leave_alone()
        assert await jobs[0].result(30) == 1


async def _hear_nothing(*_: object) -> None:
    pass


async def test_a_burst_worker_leaves_no_level_behind(queue: Queue, settings: Settings) -> None:
    jobs = [await queue.options(priority=level).enqueue(work.add, 1) for level in ("low", "high")]
    await (await queue.connection()).api(f"CONSUMER.DELETE.{settings.namespace}_jobs.naq-low-default")
    await Worker(["default"], settings=settings, burst=True).run()
    assert [await job.result(30) for job in jobs] == [1, 1]


async def test_levels_are_paused_and_limited_from_their_beginning(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker():
        await queue.pause()
        job = await queue.options(priority="high").enqueue(work.add, 1)
        plain = await queue.enqueue(work.add, 2)
        info = await connection.api(f"CONSUMER.INFO.{connection.names.jobs_stream}.naq-high-default")
        assert info["paused"]
        await queue.resume()
        assert [await job.result(30), await plain.result(30)] == [1, 2]


async def test_an_older_stream_is_given_more_consumers_when_it_needs_them(namespace: str) -> None:
    """NAQ once set no limit, which the server takes for its default."""
    with EmbeddedServer(config=ONE_BY_DEFAULT) as server:
        async with Connection(Settings.load(nats_url=server.url, namespace=namespace)) as connection:
            await ensure_queue(connection, "a")
            stream = f"STREAM.%s.{connection.names.jobs_stream}"
            config = (await connection.api(stream % "INFO"))["config"]
            assert config["max_consumers"] > 100_000
            await connection.api(stream % "UPDATE", {**config, "max_consumers": -1})
            async with Connection(connection.settings) as other:
                item = (await check_topology(other))[0]
                assert (item.state, item.can_update, list(item.differences)) == ("differs", True, ["max_consumers"])
                for name in "bcd":
                    await ensure_queue(other, name)
                assert (await check_topology(other))[0].state == "ok"


async def test_a_limit_that_somebody_has_set_is_a_typed_error(namespace: str) -> None:
    with EmbeddedServer() as server:
        async with Connection(Settings.load(nats_url=server.url, namespace=namespace)) as connection:
            await ensure_queue(connection, "a")
            stream = f"STREAM.%s.{connection.names.jobs_stream}"
            config = (await connection.api(stream % "INFO"))["config"]
            await connection.api(stream % "UPDATE", {**config, "max_consumers": 1})
            queue = Queue("b", connection=connection)
            with pytest.raises(ConsumerLimitError, match="raise max_consumers"):
                await queue.enqueue(work.add, 1)
            assert (await connection.api(stream % "INFO"))["config"]["max_consumers"] == 1
            assert (await check_topology(connection))[0].state == "ok"


async def test_an_account_with_few_consumers_works_as_far_as_it_allows(namespace: str) -> None:
    with EmbeddedServer(config=TWO_FOR_ALL) as server:
        settings = Settings.load(nats_url=server.url, namespace=namespace, nats_user="a", nats_password="a")
        async with Connection(settings) as connection:
            for name in "ab":
                await ensure_queue(connection, name)
            with pytest.raises(ConsumerLimitError, match="account"):
                await ensure_queue(connection, "c")


async def test_the_line_of_a_start_is_short_however_many_queues_there_are(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names = [f"line-{number}" for number in range(40)]
    await Worker(names, settings=settings, burst=True).run()
    (line,) = (each for each in caplog.messages if "takes jobs from" in each)
    assert line.endswith(" line-9 and 30 more, 10 at a time")


async def test_a_worker_serves_more_queues_than_it_has_orders_for(settings: Settings) -> None:
    """More queues than are asked at once, with one job each, and none is forgotten."""
    names = [f"q{number}" for number in range(300)]
    async with Queue(names[0], settings=settings) as first:
        connection = await first.connection()
        every = [Queue(name, connection=connection) for name in names]
        jobs = await asyncio.gather(*(each.enqueue(work.add, 1) for each in every))
        worker = Worker(names, settings=settings, concurrency=4)
        running = asyncio.ensure_future(worker.run())
        try:
            assert await asyncio.gather(*(job.result(50) for job in jobs)) == [1] * 300
            late = await asyncio.gather(*(each.enqueue(work.add, 2) for each in every[::-1]))
            assert await asyncio.gather(*(job.result(50) for job in late)) == [2] * 300
            assert len(await list_queues(connection)) == 300
        finally:
            worker.stop()
            await running


async def test_a_worker_takes_no_more_jobs_of_many_queues_than_it_has_slots_for(settings: Settings) -> None:
    """What finds no slot goes back to the server, and costs it as much as what is worked off."""
    names = [f"q{number}" for number in range(100)]
    async with Queue(names[0], settings=settings) as first:
        connection = await first.connection()
        jobs = [await Queue(name, connection=connection).enqueue(work.count, 0.1) for name in names]
        worker = Worker(names, settings=settings, concurrency=4)
        running = asyncio.ensure_future(worker.run())
        try:
            await asyncio.gather(*(job.result(60) for job in jobs))
            answer = await connection.api(f"CONSUMER.LIST.{connection.names.jobs_stream}", {})
            assert sum(each["delivered"]["consumer_seq"] for each in answer["consumers"]) < 2 * len(names)
        finally:
            worker.stop()
            await running


async def test_a_list_of_very_many_queues_knows_what_only_one_of_them_has(settings: Settings) -> None:
    names = [f"q{number:03}" for number in range(70)]
    async with Queue(names[0], settings=settings) as first:
        connection = await first.connection()
        await asyncio.gather(*(ensure_queue(connection, name) for name in names))
        assert {(view.held, view.dead, view.limit) for view in await list_queues(connection)} == {(0, 0, None)}
        chosen = Queue(names[42], connection=connection)
        await chosen.enqueue_in(timedelta(hours=1), work.add, 1)
        await chosen.set_limit(3)
        found = {view.queue: (view.held, view.dead, view.limit) for view in await list_queues(connection)}
        assert found == dict.fromkeys(names, (0, 0, None)) | {names[42]: (1, 0, 3)}


async def test_the_oldest_job_is_found_in_short_queues_and_in_long_ones(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    short = [Queue(f"short{number}", connection=connection) for number in range(40)]
    firsts = {}
    for each in short:
        await each.enqueue(work.add, 1)
    await queue.enqueue_many(queue.call(work.add, number) for number in range(150))
    for each in (*short, queue):
        subject = connection.names.ready_filter(each.name)
        request = json.dumps({"seq": 1, "next_by_subj": subject}).encode()
        reply = await connection.request(f"$JS.API.DIRECT.GET.{connection.names.jobs_stream}", request)
        firsts[each.name] = (reply.headers or {})["Nats-Time-Stamp"][:23]
    found = {view.queue: view.oldest_at for view in await list_queues(connection)}
    assert {name: at.isoformat()[:23] for name, at in found.items() if at} == firsts
