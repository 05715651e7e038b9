"""F5 and F6: the network between NAQ and the server stalls, goes half-open, resets, cuts, is slow."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import pytest

from naq_client import Queue
from naq_core import BrokerError, EnqueueUnknownError, Settings
from naq_core.envelope import decode_envelope
from naq_core.server import EmbeddedServer
from naq_core.storage import objects
from naq_core.storage.records import find_job
from naq_core.transport import link, pulse
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import Event, History, boottime
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet
from tests.support.proxy import Proxy

# nats-py leaves the socket of a failed attempt to reconnect to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


class Break(NamedTuple):
    """What is done to the connections, for how long, and how fast NAQ must work again."""

    begin: Callable[[Proxy], None]
    end: Callable[[Proxy], None]
    seconds: float
    resumes: float


def leave(_: Proxy) -> None:
    """Do nothing: the break is over by itself."""


BREAKS = {
    "stall": Break(Proxy.blackhole, Proxy.heal, 3.0, 5.0),
    "half-open": Break(Proxy.blackhole, lambda proxy: proxy.heal(revive=False), 3.0, 10.0),
    "reset": Break(Proxy.reset, leave, 0.0, 5.0),
    "cut": Break(lambda proxy: proxy.cut_after(random.randrange(2000)), leave, 0.5, 10.0),
}


@short_and_long(2, 40)
@pytest.mark.parametrize("kind", BREAKS)
async def test_work_resumes_by_itself_after_the_network_broke(
    kind: str,
    form: int,
    nats_server: EmbeddedServer,
    settings: Settings,
    fleet: Fleet,
    history: History,
    observer: Observer,
) -> None:
    what = BREAKS[kind]
    idle: list[float] = []
    async with Proxy(nats_server.port) as proxy:
        through = dataclasses.replace(settings, nats_url=proxy.url)
        fleet.start(settings=through)
        async with Queue("default", settings=through) as queue:
            load = Load(queue, history, observer)
            async with load.steady(lambda: (jobs.work, 0.02), pause=0.02):
                await eventually(lambda: _started_after(history, 0, fleet), 15)
                for _ in range(form):
                    with history.fault(kind):
                        what.begin(proxy)
                        await asyncio.sleep(what.seconds)
                        what.end(proxy)
                    healed = boottime()
                    await eventually(lambda: _started_after(history, healed, fleet), what.resumes)  # noqa: B023
                    idle.append(boottime() - healed)
            await load.finish(20)
    print(f"{kind}: {form} breaks, idle afterwards at most {max(idle):.2f} s")
    report = verify(history.events(), Limits(lease=what.resumes, drain=15))
    assert report.extra_runs == 0, report


def _started_after(history: History, since: float, fleet: Fleet) -> Event:
    started = [event for event in history.events("start") if event.at > since]
    assert started, f"no job has started since the network works again\n{fleet.outputs()}"
    return started[0]


@short_and_long(60, 1000)
async def test_a_storm_of_resets_ends_no_worker(
    form: int, nats_server: EmbeddedServer, settings: Settings, fleet: Fleet, load: Load, history: History
) -> None:
    """Some of so many resets fall between a look at the connection and the write to it."""
    rng = random.Random(7)
    async with Proxy(nats_server.port) as proxy:
        worker = fleet.start(settings=dataclasses.replace(settings, nats_url=proxy.url))
        async with load.steady(lambda: (jobs.work, 0.01), pause=0.05, clients=4):
            await eventually(lambda: _started_after(history, 0, fleet), 15)
            with history.fault("resets"):
                for _ in range(form):
                    proxy.reset()
                    await asyncio.sleep(rng.uniform(0.005, 0.15))
                    assert worker.is_alive, worker.output()
        try:
            await load.finish(30)
        except AssertionError as error:
            error.add_note(worker.output()[-4000:])
            raise
    report = verify(history.events(), Limits(lease=5, drain=25))
    assert report.extra_runs == 0, report


@short_and_long(0.05, 0.3)
async def test_a_slow_network_costs_time_and_no_lease(
    form: float,
    nats_server: EmbeddedServer,
    settings: Settings,
    fleet: Fleet,
    history: History,
    observer: Observer,
) -> None:
    async with Proxy(nats_server.port) as proxy:
        proxy.delay = form
        through = dataclasses.replace(settings, nats_url=proxy.url)
        fleet.start(settings=through)
        fleet.start(settings=through)
        async with Queue("default", settings=through) as queue:
            load = Load(queue, history, observer)
            await asyncio.gather(*(load.enqueue(jobs.work, 0.5) for _ in range(30)))
            records = await load.finish(60)
    assert verify(history.events()).extra_runs == 0
    assert {(record.attempt, record.crashes) for record in records.values()} == {(1, 0)}


@pytest.mark.parametrize("budget", [2.0, 9.0], ids=["connection-seems-up", "connection-known-down"])
async def test_an_enqueue_whose_answer_is_lost_is_never_called_not_stored(
    budget: float, nats_server: EmbeddedServer, settings: Settings, observer: Observer
) -> None:
    async with Proxy(nats_server.port) as proxy:
        through = dataclasses.replace(
            settings,
            nats_url=proxy.url,
            publish_timeout=timedelta(seconds=1),
            publish_budget=timedelta(seconds=budget),
        )
        async with Queue("default", settings=through) as queue:
            await queue.enqueue(jobs.work)
            proxy.blackhole()
            with pytest.raises(EnqueueUnknownError) as unknown:
                await queue.options(job_id="perhaps").enqueue(jobs.work)
            assert unknown.value.job_ids == ["perhaps"]
            proxy.heal()
            await eventually(lambda: _is_accepted(queue), 10)
        assert (await observer.live("default"))["normal"] == 2


async def _is_accepted(queue: Queue) -> None:
    try:
        await queue.options(job_id="perhaps").enqueue(jobs.work)
    except BrokerError as error:
        raise AssertionError(repr(error)) from error


async def test_a_line_that_is_slow_is_not_taken_for_dead(
    nats_server: EmbeddedServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the watchdog's ping comes after all that was sent before it, and after what comes from the server."""
    monkeypatch.setattr(link, "WATCHDOG_INTERVAL", 0.1)
    monkeypatch.setattr(pulse, "PATIENCE", 2.0)
    large = b"x" * 900_000  # 14 chunks: 3 to 4 s
    async with Proxy(nats_server.port, is_narrow=True) as proxy:
        slow = dataclasses.replace(settings, nats_url=proxy.url)
        async with Queue("default", settings=slow) as queue:
            await queue.enqueue(jobs.work)
            proxy.delay = 0.25
            await queue.options(job_id="large").enqueue("m:f", large)
            connection = await queue.connection()
            found = await find_job(connection, "large", "default")
            assert found is not None
            stored = decode_envelope(found.data).large
            assert stored is not None
            assert large in await objects.get(connection, stored)
        assert proxy.accepted == 1


async def test_a_ping_whose_connection_is_made_again_tells_nothing(nats_server: EmbeddedServer, settings: Settings) -> None:
    """Its answer never comes, which must not be held against the new connection."""
    async with (
        Proxy(nats_server.port) as proxy,
        Queue("default", settings=dataclasses.replace(settings, nats_url=proxy.url)) as queue,
    ):
        connection = await queue.connection()
        proxy.blackhole()
        asked = asyncio.create_task(pulse.answers(connection.client, connection.background))
        await asyncio.sleep(0)  # the ping is on its way
        proxy.heal(revive=False)
        proxy.reset()
        assert await asked
        await eventually(lambda: _is_accepted(queue))
