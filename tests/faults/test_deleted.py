"""An operator deletes streams, buckets and consumers under running processes: each kind of process creates them again."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Awaitable, Callable
from urllib.request import urlopen

import pytest

from naq_client import Queue, chain
from naq_core import JobState, Settings, manage
from naq_core.audit import Actor, recorded
from naq_core.server import EmbeddedServer, find_server_binary
from naq_core.transport.keeper import CHECK_INTERVAL
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.observer import Observer
from tests.support.processes import Fleet, WorkerProcess

LEVELS = ("worker", "high", "low")
LARGE = b"x" * 300_000
PATIENCE = 12 * CHECK_INTERVAL
"""Seconds; on a quiet machine all is back within two checks."""


class Operator:
    """Deletes what NAQ needs, past NAQ's own code."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.names = observer.names

    async def ask(self, operation: str) -> dict[str, object]:
        reply = await self._observer.client.request(f"$JS.API.{operation}", b"", 10)
        answer: dict[str, object] = json.loads(reply.data)
        return answer

    async def is_there(self, name: str) -> bool:
        kind = f"CONSUMER.INFO.{self.names.jobs_stream}" if name.startswith("naq-") else "STREAM.INFO"
        return "error" not in await self.ask(f"{kind}.{name}")

    async def wait_for(self, *names: str) -> None:
        async def are_there() -> None:
            missing = [name for name in names if not await self.is_there(name)]
            assert not missing

        await eventually(are_there, PATIENCE, interval=0.1)

    async def delete(self, name: str) -> None:
        kind = f"CONSUMER.DELETE.{self.names.jobs_stream}" if name.startswith("naq-") else "STREAM.DELETE"
        answer = await self.ask(f"{kind}.{name}")
        assert answer.get("success"), answer


@pytest.fixture
def operator(observer: Observer) -> Operator:
    return Operator(observer)


async def warned_once(name: str, process: WorkerProcess) -> None:
    """Wait until the process has said that it created something again, and see that it said so once."""

    def said() -> None:
        found = re.findall(rf"(?:stream|consumer) {re.escape(name)} was deleted and has been created again", process.output())
        assert len(found) == 1, process.output()

    await eventually(said)


async def loses_each(operator: Operator, process: WorkerProcess, *names: str) -> None:
    """Delete each of these under the one process there is, which creates each again and says so once."""
    await operator.wait_for(*names)
    for name in names:
        await operator.delete(name)
    await operator.wait_for(*names)
    for name in names:
        await warned_once(name, process)
    assert process.is_alive, process.output()


async def test_a_worker_creates_again_what_is_deleted(fleet: Fleet, operator: Operator, settings: Settings) -> None:
    names = operator.names
    worker = fleet.start()
    async with Queue("default", settings=settings) as queue:
        for level in ("high", "normal", "low"):
            assert await (await queue.options(priority=level).enqueue(jobs.measure, b"1")).result(timeout=30) == 1
    consumers = [f"naq-{level}-default" for level in LEVELS]
    # Consumers first: with its stream each consumer goes too, and is said to be created again once more.
    await loses_each(operator, worker, *consumers)
    streams = (names.results_stream, names.workers_stream, names.queues_stream, names.tally_stream, names.metrics_stream)
    await loses_each(operator, worker, *streams)
    await loses_each(operator, worker, names.jobs_stream)
    await operator.wait_for(*consumers)
    async with Queue("default", settings=settings) as queue:
        assert await (await queue.enqueue(jobs.measure, b"22")).result(timeout=30) == 2


async def test_a_scheduler_creates_again_what_is_deleted(fleet: Fleet, operator: Operator, settings: Settings) -> None:
    names = operator.names
    scheduler = fleet.start_scheduler()
    await eventually(lambda: _says(scheduler, "is the leader"), PATIENCE)
    streams = (names.results_stream, names.workers_stream, names.queues_stream, names.tally_stream, names.jobs_stream)
    await loses_each(operator, scheduler, *streams, names.schedules_stream, names.leases_stream)
    # It leads again, and follows the new bucket: a schedule that comes now is fired.
    async with Queue("default", settings=settings) as queue:
        await queue.schedule(jobs.measure, b"1", interval=0.5, schedule_id="after")

        async def has_fired() -> None:
            assert (await operator._observer.live("default"))["normal"] > 0, scheduler.output()

        await eventually(has_fired, PATIENCE)


async def test_a_dashboard_creates_again_what_is_deleted(fleet: Fleet, operator: Operator) -> None:
    names = operator.names
    dashboard = fleet.start_dashboard()
    await eventually(lambda: _says(dashboard, "http://"), PATIENCE)
    found = re.search(r"http://[\d.]+:\d+", dashboard.output())
    assert found is not None

    async def page() -> None:
        status = await asyncio.to_thread(lambda: urlopen(f"{found[0]}/queues", timeout=30).status)
        assert status == 200

    await page()
    streams = (names.results_stream, names.workers_stream, names.queues_stream, names.tally_stream, names.jobs_stream)
    await loses_each(operator, dashboard, *streams)
    await page()


async def _client_enqueues(queue: Queue) -> None:
    await queue.enqueue(jobs.measure, b"1")


async def _client_enqueues_a_batch(queue: Queue) -> None:
    await queue.enqueue_many([queue.call(jobs.measure, b"1") for _ in range(3)])


async def _client_fills_a_pipeline(queue: Queue) -> None:
    await queue.enqueue_many([queue.call(jobs.measure, b"1") for _ in range(1001)])


async def _client_reads(queue: Queue) -> None:
    job = await queue.enqueue(jobs.measure, b"1")
    assert await job.status() is JobState.QUEUED


async def _client_pauses(queue: Queue) -> None:
    await queue.pause()
    await queue.resume()


async def _client_enqueues_large(queue: Queue) -> None:
    await queue.enqueue(jobs.measure, LARGE)


async def _client_makes_a_workflow(queue: Queue) -> None:
    await chain(queue.call(jobs.measure, b"1"), queue.call(jobs.measure, b"2")).enqueue(queue)


async def _client_schedules(queue: Queue) -> None:
    await queue.schedule(jobs.measure, b"1", interval=60, schedule_id="s")


async def _client_acts_on_record(queue: Queue) -> None:
    connection = await queue.connection()
    async with recorded(connection, Actor("me", "cli"), "purge-queue", "default"):
        await manage.purge_queue(connection, "default")


CLIENT = {
    "jobs": [_client_enqueues, _client_enqueues_a_batch, _client_fills_a_pipeline],
    "results": [_client_reads],
    "queues": [_client_pauses],
    "objects": [_client_enqueues_large],
    "workflows": [_client_makes_a_workflow],
    "schedules": [_client_schedules],
    "audit": [_client_acts_on_record],
}


@pytest.mark.parametrize(
    ("stream", "use"),
    [(stream, use) for stream, uses in CLIENT.items() for use in uses],
    ids=lambda each: getattr(each, "__name__", each),
)
async def test_a_client_creates_again_what_it_needs_at_its_next_use(
    stream: str,
    use: Callable[[Queue], Awaitable[None]],
    operator: Operator,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = getattr(operator.names, f"{stream}_stream")
    async with Queue("default", settings=settings) as queue:
        await use(queue)
        await operator.delete(name)
        await use(queue)
        await operator.wait_for(name, *(["naq-worker-default"] if stream == "jobs" else []))
    assert caplog.text.count(f"stream {name} was deleted and has been created again") == 1


def run_without_jetstream(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([find_server_binary(), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)


async def test_a_server_without_jetstream_for_a_while_is_waited_for(
    own_server: EmbeddedServer, own_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is created again, and nobody spins, where the server merely does not answer for its streams."""
    async with Queue("default", settings=own_settings) as queue:
        await queue.enqueue(jobs.measure, b"1")
        connection = await queue.connection()
        asked = 0
        request = connection.client.request

        async def counted(subject: str, *arguments: object, **options: object) -> object:
            nonlocal asked
            asked += 1
            return await request(subject, *arguments, **options)  # type: ignore[arg-type]

        connection.client.request = counted  # type: ignore[method-assign,assignment]
        await asyncio.to_thread(own_server.kill)
        with run_without_jetstream(own_server.port) as plain:
            await connection.wait_connected(asyncio.get_running_loop().time() + 30)
            waiting = asyncio.ensure_future(queue.enqueue(jobs.measure, b"2"))
            await asyncio.wait([waiting], timeout=3)
            plain.kill()
        assert not waiting.done()
        assert 0 < asked < 30
        await asyncio.to_thread(own_server.start)
        await waiting
    assert "was deleted" not in caplog.text


def _says(process: WorkerProcess, text: str) -> None:
    assert text in process.output(), process.output()
