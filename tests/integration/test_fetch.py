"""What a worker orders of its queues, and what becomes of deliveries that find no slot: on the real server, without a worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core.platforms import boottime
from naq_core.storage import acks
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import ConsumerState, Delivery, Pull, consumer_state
from naq_core.storage.topology import ensure_queue
from naq_worker import _fetch
from naq_worker._active import Active
from naq_worker._fair_share import FairShare, Source
from naq_worker._fetch import Fetch
from tests.integration import work
from tests.support.eventually import eventually

# What is not handed back is not delivered again while a test waits for it.
pytestmark = pytest.mark.naq(ack_wait=600)


def go_on() -> bool:
    """No worker stops here."""
    return False


class Intake:
    """What a worker would say of itself, as the test sets it."""

    def __init__(self, connection: Connection, *queues: str, slots: int = 4, burst: bool = False) -> None:
        self.connection = connection
        self.busy, self.held = 0, [0]
        self.room: int | None = None
        self.arrived: list[Delivery] = []
        self.wake = asyncio.Event()
        self.fetch = Fetch(
            connection,
            FairShare(queues or ["default"]),
            slots,
            burst=burst,
            busy=lambda: self.busy,
            held=lambda: self.held.pop() if len(self.held) > 1 else self.held[0],
            room=lambda _: self.room,
            on_delivery=self.arrived.append,
            wake=self.wake.set,
        )

    @property
    def source(self) -> Source:
        return next(iter(self.fetch._pulls))

    @property
    def pull(self) -> Pull:
        return self.fetch._pulls[self.source]

    async def take(self, count: int) -> list[Active]:
        """Order, wait for so many deliveries, and let them wait for a slot."""
        await self.fetch.ask(go_on)
        await eventually(lambda: len(self.arrived) >= count)
        taken = [Active(delivery, 0.0) for delivery in self.arrived]
        self.arrived.clear()
        for active in taken:
            self.fetch.wait(active)
        return taken

    async def state(self) -> ConsumerState:
        return await consumer_state(self.connection, "default")


@pytest_asyncio.fixture
async def connection(queue: Queue) -> Connection:
    found = await queue.connection()
    await ensure_queue(found, "default")
    return found


@pytest_asyncio.fixture
async def intake(connection: Connection) -> AsyncIterator[Intake]:
    made = Intake(connection)
    await made.fetch.start()
    yield made
    await made.fetch.stop()


@pytest_asyncio.fixture
async def burst(connection: Connection) -> AsyncIterator[Intake]:
    made = Intake(connection, burst=True)
    await made.fetch.start()
    yield made
    await made.fetch.stop()


async def put(queue: Queue, count: int) -> None:
    for number in range(count):
        await queue.enqueue(work.add, number)


async def test_as_many_jobs_are_ordered_as_there_are_free_slots(intake: Intake, queue: Queue) -> None:
    assert intake.fetch.places == [("default", "normal")]
    await put(queue, 10)
    assert len(await intake.take(4)) == 4
    await intake.fetch.ask(go_on)
    assert intake.pull.credit == 0, "all slots are spoken for"
    assert intake.source.pending == 6
    assert (await intake.state()) == ConsumerState(6, 4, is_paused=False, newest=4)
    assert intake.wake.is_set(), "the first delivery told of a backlog"
    while intake.fetch.next() is not None:
        intake.busy += 1
    assert intake.busy == 4
    intake.busy = 3
    await intake.fetch.ask(go_on)
    await eventually(lambda: len(intake.arrived) == 1)
    assert (await intake.state()).unsettled == 5


async def test_what_is_on_order_is_not_ordered_again(intake: Intake, queue: Queue) -> None:
    await intake.fetch.ask(go_on)
    assert intake.source.credit == 4
    await intake.fetch.ask(go_on)
    assert intake.pull.credit == intake.source.credit == 4
    await put(queue, 6)
    await eventually(lambda: len(intake.arrived) == 4)
    assert (await intake.state()) == ConsumerState(2, 4, is_paused=False, newest=4)


async def test_a_worker_that_stops_orders_nothing(intake: Intake) -> None:
    await intake.fetch.ask(lambda: True)
    assert intake.pull.credit == 0


async def test_of_a_limited_queue_no_more_is_ordered_than_there_is_room_for(intake: Intake) -> None:
    intake.room = 0
    await intake.fetch.ask(go_on)
    assert intake.pull.credit == 0
    intake.room = 1
    await intake.fetch.ask(go_on)
    assert intake.pull.credit == 1
    await intake.fetch.ask(go_on)
    assert intake.pull.credit == 1
    intake.room = None
    await intake.fetch.ask(go_on)
    assert intake.pull.credit == 4


async def test_while_jobs_are_short_some_are_ordered_ahead(connection: Connection) -> None:
    intake = Intake(connection, slots=1000)
    assert intake.fetch._free() == 1000 + 50, "a job is taken to last a second"
    intake.fetch.note_length(11)
    assert intake.fetch._free() == 1000 + 25
    for _ in range(200):
        intake.fetch.note_length(0)
    assert intake.fetch._free() == 1000 + 500
    intake.busy = 10
    assert intake.fetch._free() == 1000 + 500 - 10


async def test_a_delivery_that_waits_has_its_place_in_line(intake: Intake, queue: Queue) -> None:
    await put(queue, 3)
    taken = await intake.take(3)
    assert intake.fetch._free() == 1
    assert intake.fetch.waiting() == taken
    assert all(boottime() - 60 < active.arrived_at <= boottime() for active in taken)
    assert [intake.fetch.next() for _ in range(4)] == [*taken, None]
    assert intake.fetch.waiting() == []
    assert intake.fetch._free() == 4


async def test_what_has_waited_too_long_goes_back_for_a_worker_with_a_slot(
    intake: Intake, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fetch, "LONGEST_WAIT", 1000.0)
    await put(queue, 2)
    old, young = await intake.take(2)
    old.arrived_at -= 1001
    await intake.fetch.return_overdue()
    assert intake.fetch.waiting() == [young]
    assert intake.fetch._free() == 3
    await intake.fetch.ask(go_on)
    await eventually(lambda: len(intake.arrived) == 1)
    assert intake.arrived[0].key == old.key
    assert intake.fetch.next() is young
    await intake.fetch.return_overdue()


async def test_a_stop_hands_back_what_waits_and_a_start_takes_it_again(intake: Intake, queue: Queue) -> None:
    await put(queue, 3)
    keys = [active.key for active in await intake.take(3)]
    intake.fetch._look_again()
    assert intake.fetch.is_open
    await intake.fetch.stop()
    assert not intake.fetch.is_open
    assert intake.fetch.waiting() == []
    assert intake.pull.credit == 0
    await intake.fetch.stop()
    await intake.fetch.start()
    assert intake.fetch.is_open
    assert sorted(active.key for active in await intake.take(3)) == sorted(keys)


async def test_a_source_without_an_order_is_looked_at_again_soon(intake: Intake) -> None:
    """A backlog may have gone to other workers."""
    intake.busy, intake.source.pending = 4, 1
    await intake.fetch.ask(go_on)
    assert intake.fetch._recheck is not None
    await intake.wake.wait()
    assert intake.fetch._recheck is None
    await intake.fetch.ask(go_on)
    timer = intake.fetch._recheck
    await intake.fetch.ask(go_on)
    assert timer is intake.fetch._recheck is not None
    await intake.fetch.stop()
    assert timer.cancelled()
    assert intake.fetch._recheck is None


async def test_a_source_with_an_order_or_without_a_backlog_is_left_alone(intake: Intake) -> None:
    await intake.fetch.ask(go_on)
    assert intake.fetch._recheck is None, "it has an order"
    intake.busy, intake.pull.credit, intake.source.credit = 4, 0, 0
    await intake.fetch.ask(go_on)
    assert intake.fetch._recheck is None, "it has no backlog"
    intake.source.pending, intake.source.credit = 1, 1
    await intake.fetch.ask(go_on)
    assert intake.fetch._recheck is None, "it has both"


async def test_the_last_look_was_content_if_every_free_slot_is_on_order_and_no_backlog_is_known(intake: Intake) -> None:
    await intake.fetch.ask(go_on)
    assert not intake.fetch.is_content, "it has just ordered"
    for busy, backlog, is_content in ((0, 0, True), (3, 0, True), (4, 0, False), (0, 1, False)):
        intake.busy, intake.source.pending = busy, backlog
        await intake.fetch.ask(go_on)
        assert intake.fetch.is_content == is_content, (busy, backlog)


async def test_a_small_order_beside_another_waits_for_more_slots_to_become_free(connection: Connection) -> None:
    for first, second, ordered, why in (
        (14, 10, 6, "one beside another: it looks again"),
        (13, 0, 3, "two are an eighth of the slots: ordered at once"),
    ):
        made = Intake(connection, slots=16)
        taken = [12, 15]  # the first look finds so many slots taken as come last, a second one fewer
        made.fetch._busy = lambda taken=taken: taken.pop() if len(taken) > 1 else taken[0]  # type: ignore[misc]
        await made.fetch.start()
        await made.fetch.ask(go_on)
        assert made.pull.credit == 1, "nothing was on order: one is ordered at once"
        taken[:] = second, first
        await made.fetch.ask(go_on)
        assert made.pull.credit == ordered, why
        await made.fetch.stop()


async def test_only_a_delivery_that_tells_of_a_first_backlog_wakes(intake: Intake, queue: Queue) -> None:
    await put(queue, 1)
    (active,) = await intake.take(1)
    assert not intake.wake.is_set()
    for before, now, is_woken in ((0, 5, True), (5, 4, False), (5, 0, False), (0, 0, False)):
        intake.wake.clear()
        intake.source.pending = before
        active.delivery.pending = now
        intake.fetch._receive(intake.source, active.delivery)
        assert intake.wake.is_set() == is_woken
    assert intake.source.pending == 0


async def test_a_burst_asks_only_for_what_is_there_now(burst: Intake, queue: Queue) -> None:
    await burst.fetch.ask(go_on)
    await eventually(lambda: burst.pull.is_empty)
    assert burst.pull.credit == 0
    burst.source.spoke_at = asyncio.get_running_loop().time() + 1000
    burst.wake.clear()
    await burst.fetch.ask(go_on)
    assert burst.pull.credit == 0, "it was empty a moment ago"
    await burst.wake.wait()
    burst.source.spoke_at = 0.0
    await put(queue, 1)
    assert len(await burst.take(1)) == 1


async def test_a_burst_is_over_when_nothing_waits_anywhere(burst: Intake, queue: Queue) -> None:
    await burst.fetch.ask(go_on)
    await eventually(lambda: burst.pull.is_empty)
    assert await burst.fetch.is_drained(has_retries=False)
    burst.held = [1]
    assert not await burst.fetch.is_drained(has_retries=False)
    burst.held = [1, 0]
    assert not await burst.fetch.is_drained(has_retries=False), "a job has come meanwhile"
    burst.held = [0]
    burst.pull.credit = 1
    assert not await burst.fetch.is_drained(has_retries=False)
    burst.pull.credit, burst.pull.is_empty = 0, False
    assert not await burst.fetch.is_drained(has_retries=False)
    burst.pull.is_empty = True
    await put(queue, 1)
    burst.wake.clear()
    assert not await burst.fetch.is_drained(has_retries=False)
    await burst.wake.wait()
    await queue.pause()
    assert await burst.fetch.is_drained(has_retries=False), "a paused queue is left as it is"


async def test_a_burst_waits_for_retries_where_that_is_wanted(burst: Intake, queue: Queue) -> None:
    await put(queue, 1)
    (active,) = await burst.take(1)
    await burst.fetch.ask(go_on)
    await eventually(lambda: burst.pull.is_empty)
    assert not await burst.fetch.is_drained(has_retries=False), "a delivery waits here"
    assert burst.fetch.next() is active
    assert await burst.fetch.is_drained(has_retries=False)
    assert not await burst.fetch.is_drained(has_retries=True)


async def test_a_burst_is_not_over_while_a_level_without_a_consumer_has_jobs(burst: Intake, queue: Queue) -> None:
    await burst.fetch.ask(go_on)
    await eventually(lambda: burst.pull.is_empty)
    await queue.options(priority="low").enqueue(work.add, 1)
    await burst.connection.api(f"CONSUMER.DELETE.{burst.connection.names.jobs_stream}.naq-low-default")
    assert not await burst.fetch.is_drained(has_retries=False)
    assert burst.fetch.places == [("default", "normal"), ("default", "low")]


async def test_more_of_a_burst_is_asked_for_at_once(burst: Intake, queue: Queue) -> None:
    await put(queue, 6)
    for active in await burst.take(4):
        assert burst.fetch.next() is active
    burst.source.spoke_at = asyncio.get_running_loop().time() + 1000
    assert len(await burst.take(2)) == 2


async def test_a_level_is_opened_when_something_is_put_there(intake: Intake, queue: Queue) -> None:
    await intake.fetch.ask(go_on)
    intake.wake.clear()
    await queue.options(priority="high").enqueue(work.add, 1)
    await intake.wake.wait()
    await intake.fetch.ask(go_on)
    assert ("default", "high") in intake.fetch.places
    assert len(await intake.take(1)) == 1


async def test_an_order_that_died_in_silence_is_noticed(intake: Intake) -> None:
    await intake.fetch.ask(go_on)
    intake.fetch.check()
    assert intake.pull.credit == 4
    intake.pull._seen -= 1000
    intake.fetch.check()
    assert intake.pull.credit == 0


async def test_the_first_job_leaves_the_stream_in_the_way_that_suits_its_consumers(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "MANY_CONSUMERS", 1)
    fetch = Intake(connection).fetch
    await fetch.start()
    assert fetch._acks.deletes
    await fetch.stop()


async def test_before_its_start_there_is_nothing_to_stop(connection: Connection) -> None:
    fetch = Intake(connection).fetch
    assert not fetch.is_open
    await fetch.stop()
    assert fetch.places == []


async def test_heartbeats_become_rarer_with_very_many_queues(connection: Connection) -> None:
    assert Intake(connection).fetch._heartbeat == 1
    assert Intake(connection, *(f"q{number}" for number in range(500))).fetch._heartbeat == 2.5


async def test_the_most_important_of_many_sources_come_first_and_the_others_in_turn(connection: Connection) -> None:
    fetch = Intake(connection, *(f"q{number}" for number in range(4))).fetch
    wishes = [(source, 1) for source in fetch._shares.sources]
    assert fetch._in_turns(wishes, len(wishes)) == wishes
    assert fetch._in_turns(wishes, 0) == wishes
    assert len(wishes) == 12
    counts: Counter[int] = Counter()
    for _ in range(60):
        ordered = fetch._in_turns(wishes, 3)
        assert sorted(source.rank for source, _ in ordered) == list(range(12))
        counts.update(source.rank for source, _ in ordered[:3])
    assert counts[0] == 60, "the most important has an order each time"
    assert min(counts.values()) >= 3, "none is forgotten"
    assert len(counts) == 12


async def test_of_very_many_sources_some_are_asked_at_a_time(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "FEW", 2)
    intake = Intake(connection, *(f"q{number}" for number in range(6)), slots=2)
    fetch = intake.fetch
    await fetch.start()
    sources = list(fetch._pulls)
    assert (len(sources), fetch._most, fetch._is_crowded) == (6, 4, True)
    monkeypatch.setattr(_fetch, "FEW", 6)
    assert fetch._is_crowded is False, "so many are looked at together"
    monkeypatch.setattr(_fetch, "FEW", 2)
    await fetch.ask(go_on)
    probed = [source for source in sources if fetch._pulls[source].credit]
    assert len(probed) == 2, "what is not known to be empty is asked for no more than there are slots"
    assert set(fetch._probes) == set(probed)
    await eventually(lambda: all(fetch._pulls[source].is_empty for source in probed))
    for _ in range(10):
        await fetch.ask(go_on)
        await eventually(lambda: all(fetch._pulls[source].credit == 0 for source in fetch._probes))
        if sum(fetch._pulls[source].credit for source in sources) == 4:
            break
    await fetch.stop()


async def test_a_probe_counts_until_it_is_answered_or_overdue(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "FEW", 2)
    intake = Intake(connection, *(f"q{number}" for number in range(6)), slots=2)
    fetch = intake.fetch
    await fetch.start()
    now = asyncio.get_running_loop().time()
    first, second, third, *_ = sources = list(fetch._pulls)
    wishes = [(source, 1) for source in sources]
    fetch._probes = {first: now + 60, second: now - 60, third: now + 60}
    fetch._pulls[first].credit = fetch._pulls[second].credit = 1
    first.credit = second.credit = 1
    chosen = fetch._some(wishes)
    assert len(chosen) == 1, "one slot is left beside the first, which is not answered"
    assert set(fetch._probes) == {first, chosen[0][0]}, "the second is overdue, and the third answered"
    intake.busy = 2
    assert fetch._some(wishes) == []
    for source in sources:
        fetch._pulls[source].is_empty = True
    intake.wake.clear()
    assert fetch._some(wishes) == wishes[:4], "a standing order each"
    await intake.wake.wait()
    await fetch.stop()
