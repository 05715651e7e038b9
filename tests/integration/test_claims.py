"""Whose a job is, by its record and by the presence of the worker that the record names, and what a worker then does."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core import Connection, JobRecord, JobState, Settings
from naq_core.envelope import decode_envelope
from naq_core.platforms import boottime
from naq_core.server import EmbeddedServer
from naq_core.storage.deliveries import Delivery
from naq_core.storage.records import Stored
from naq_core.storage.topology import ensure_streams
from naq_worker import _active, _claim
from naq_worker._active import Active, Claim
from naq_worker._claim import Claims, Owner
from naq_worker._suspects import Isolation
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually
from tests.support.hands import ME, Hands, nak, open_hands
from tests.support.proxy import Proxy

CLAIMED_AT = 1000.0


def claims_of(connection: Connection) -> Claims:
    async def put_off(*_: object) -> None:
        """No suspect is handed back here."""

    return Claims(connection, "me", Isolation(lambda: True, lambda: None), put_off)


def claimed_by(worker: str) -> JobRecord:
    return JobRecord(JobState.RUNNING, "j", "default", worker=worker, started_at=CLAIMED_AT)


async def announce(connection: Connection, worker: str, **presence: Any) -> None:
    await ensure_streams(connection)
    body = {"worker_id": worker, "running": {}, **presence}
    await connection.publish(connection.names.worker(worker), json.dumps(body).encode(), {})


@pytest.mark.parametrize(
    ("presence", "owner"),
    [
        pytest.param({"at": CLAIMED_AT + 1, "running": {"j": CLAIMED_AT}}, Owner.RUNS_IT, id="it lists the job"),
        pytest.param({"at": CLAIMED_AT + 1}, Owner.GONE, id="it is younger than the claim and does not list the job"),
        pytest.param({"at": CLAIMED_AT - 1}, Owner.RUNS_IT, id="it is older than the claim, so it cannot list the job"),
        pytest.param({"at": CLAIMED_AT}, Owner.RUNS_IT, id="it is as old as the claim"),
        pytest.param({"at": CLAIMED_AT + 1, "unrecorded": ["j"]}, Owner.COULD_NOT_RECORD, id="the end was refused"),
        pytest.param({"at": CLAIMED_AT - 1, "unrecorded": ["j"]}, Owner.RUNS_IT, id="the end of an earlier attempt was refused"),
    ],
)
async def test_the_presence_of_a_worker_says_whether_it_still_runs_the_job(
    naq_connection: Connection, presence: dict[str, Any], owner: Owner
) -> None:
    await announce(naq_connection, "other", **presence)
    assert await claims_of(naq_connection)._owner(claimed_by("other")) is owner


@pytest.mark.parametrize(("unrecorded", "owner"), [((), Owner.GONE), (("j",), Owner.COULD_NOT_RECORD)])
async def test_a_worker_that_is_given_its_own_job_again_knows_why(
    naq_connection: Connection, unrecorded: tuple[str, ...], owner: Owner
) -> None:
    claims = claims_of(naq_connection)
    claims.unrecorded.extend(unrecorded)
    assert await claims._owner(claimed_by("me")) is owner


async def test_a_missing_presence_means_death_unless_the_server_may_have_lost_it(
    settings: Settings, nats_server: EmbeddedServer
) -> None:
    """Presence expires while the server is away; a worker that lives renews it within `worker_ttl` of its reconnect."""
    async with Proxy(nats_server.port) as proxy, Connection(replace(settings, nats_url=proxy.url)) as connection:
        await ensure_streams(connection)
        claims, record = claims_of(connection), claimed_by("other")
        assert await claims._owner(record) is Owner.GONE

        proxy.reset()

        def is_connected_again() -> None:
            assert connection.generation == 1

        await eventually(is_connected_again)
        assert await claims._owner(record) is Owner.RUNS_IT
        connection.connected_at -= settings.worker_ttl.total_seconds()
        assert await claims._owner(record) is Owner.GONE


class Desk:
    """The claims of a worker, and the suspects that it handed back."""

    def __init__(self, hands: Hands) -> None:
        self.hands, self.connection = hands, hands.connection
        self.put_off: list[Claim] = []
        self.isolation = Isolation(lambda: True, lambda: None)
        self.claims = Claims(hands.connection, ME, self.isolation, self._put_off)
        self.reads: list[str] = []
        """Requests for records."""
        self.redelivered = 0

    async def _put_off(self, _: Delivery, claim: Claim) -> None:
        self.put_off.append(claim)

    async def claim(self, delivery: Delivery, delivered: int | None = None) -> Claim | Stored | None:
        if delivered is not None:
            delivery.delivered = delivered
        self.active = Active(delivery, 0.0)
        found = await self.claims.claim(self.active, decode_envelope(delivery.data))
        self.connection.tally.flush()
        await self.connection.client.flush()
        return found

    async def of_another(self, **changes: Any) -> tuple[Delivery, JobRecord]:
        """Return a second delivery of a job of which another worker has stored this."""
        delivery = await self.hands.take()
        record = self.hands.record(delivery, **{"worker": "other", **changes})
        await self.hands.store(record)
        delivery.delivered = 2
        return delivery, record


@pytest_asyncio.fixture
async def desk(queue: Queue) -> AsyncIterator[Desk]:
    async with open_hands(queue) as hands:
        made, names, client = Desk(hands), hands.connection.names, hands.connection.client

        def on_read(_subject: bytes, _reply: bytes, data: bytes, _headers: bytes) -> None:
            made.reads.append(data.decode())

        def on_count(*_: bytes) -> None:
            made.redelivered += 1

        reads = await client.listen(f"$JS.API.STREAM.MSG.GET.{names.results_stream}", on_read)
        counts = await client.listen(names.tally("default", "*", "redelivered"), on_count)
        yield made
        client.unlisten(reads)
        client.unlisten(counts)


LASTING = pytest.mark.naq(ack_wait=600, failure_ttl=timedelta(seconds=200))


@LASTING
class TestAClaim:
    """Of a job whose record is like this."""

    @pytest.mark.parametrize("delivered", [1, 2])
    async def test_of_a_job_without_a_record_is_stored(self, desk: Desk, delivered: int) -> None:
        before = desk.connection.clock.now()
        delivery = await desk.hands.take()
        claim = await desk.claim(delivery, delivered)
        assert isinstance(claim, Claim)
        record, ttl = await desk.hands.stored(delivery)
        assert record == claim.record
        assert (record.state, record.attempt, record.worker, ttl) == (JobState.RUNNING, 1, ME, "")
        assert before <= record.started_at == desk.active.started_at
        message = await desk.hands.last("results", delivery)
        assert message is not None
        assert claim.revision == claim.fence == message.sequence
        assert desk.claims.late._newest == claim.revision, "late claims may begin"
        assert desk.redelivered == 0
        assert desk.isolation.is_open

    async def test_of_a_first_delivery_reads_nothing(self, desk: Desk) -> None:
        delivery = await desk.hands.take()
        desk.reads.clear()
        await desk.claim(delivery)
        assert desk.reads == []

    @pytest.mark.parametrize("delivered", [1, 2])
    async def test_that_comes_too_late_ends_the_job(self, desk: Desk, delivered: int) -> None:
        delivery = await desk.hands.take(expires=0.001)
        await eventually(lambda: desk.connection.clock.now() > decode_envelope(delivery.data).expires)
        found = await desk.claim(delivery, delivered)
        assert isinstance(found, Stored)
        record, ttl = await desk.hands.stored(delivery)
        assert found.record == record
        assert (record.state, record.attempt, record.worker, ttl) == (JobState.EXPIRED, 0, "", "200s")
        assert record.ended_at > 0

    @pytest.mark.parametrize("delivered", [1, 2, 3])
    async def test_of_a_job_that_has_ended_is_none(self, desk: Desk, delivered: int) -> None:
        """Its acknowledgement was lost, unless it is the first delivery of a job that was put back."""
        delivery, record = await desk.of_another(state=JobState.SUCCEEDED)
        found = await desk.claim(delivery, delivered)
        assert isinstance(found, Stored)
        assert found.record == record
        assert desk.redelivered == (delivered > 1)
        assert desk.reads, "it was read"
        assert await desk.hands.heard() == []

    @pytest.mark.parametrize("is_late", [True, False])
    async def test_of_a_job_whose_record_cannot_be_read_is_its_end(self, desk: Desk, is_late: bool) -> None:
        delivery = await desk.hands.take(**({"expires": 0.001} if is_late else {}))
        names = desk.connection.names
        await desk.connection.publish(names.result("default", delivery.job_id), b"garbage")
        if is_late:
            await eventually(lambda: desk.connection.clock.now() > decode_envelope(delivery.data).expires)
        found = await desk.claim(delivery)
        assert isinstance(found, Stored)
        record, ttl = await desk.hands.stored(delivery)
        assert found.record == record
        assert (record.state, record.attempt, record.worker, record.started_at, ttl) == (JobState.DEAD, 0, "", 0.0, "200s")
        assert record.errors[0].type == "UnreadableRecord"

    @pytest.mark.parametrize(("later", "delay"), [(1000.0, 60.0), (30.0, 30.0), (0.5, 0.5)])
    async def test_of_a_retry_waits_until_it_is_due(
        self, desk: Desk, later: float, delay: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = desk.connection.clock.now()
        delivery, _ = await desk.of_another(state=JobState.RETRYING, next_at=now + later)
        monkeypatch.setattr(desk.claims, "_now", lambda: now)
        assert await desk.claim(delivery) is None
        (said,) = await desk.hands.heard()
        assert json.loads(said.removeprefix("-NAK "))["delay"] / 1e9 == pytest.approx(delay, abs=1e-3)

    async def test_of_a_retry_that_is_due_is_the_next_attempt(self, desk: Desk) -> None:
        for next_at in (1.0, desk.connection.clock.now() + _claim.EARLY / 2):
            delivery, _ = await desk.of_another(state=JobState.RETRYING, next_at=next_at, attempt=2)
            claim = await desk.claim(delivery)
            assert isinstance(claim, Claim)
            assert (claim.record.state, claim.record.attempt, claim.record.alone) == (JobState.RUNNING, 3, False)
            assert desk.isolation.is_open

    async def test_of_a_message_that_was_replaced_by_a_held_one_lets_it_go(self, desk: Desk) -> None:
        delivery = await desk.hands.take()
        record = desk.hands.record(delivery, state=JobState.RETRYING, superseded=delivery.sequence)
        await desk.hands.store(record)
        assert await desk.claim(delivery, 2) is None
        assert await desk.hands.heard() == ["+ACK"]

    async def test_of_a_job_that_another_worker_runs_comes_later(self, desk: Desk) -> None:
        delivery, record = await desk.of_another()
        await announce(desk.connection, "other", at=record.started_at + 1, running={delivery.job_id: record.started_at})
        assert await desk.claim(delivery) is None
        assert await desk.hands.heard() == [nak(_claim.BUSY_DELAY)]
        assert desk.redelivered == 0

    @pytest.mark.naq(ack_wait=1.5)
    async def test_of_such_a_job_comes_within_a_short_lease(self, desk: Desk) -> None:
        delivery, record = await desk.of_another()
        await announce(desk.connection, "other", at=record.started_at + 1, running={delivery.job_id: record.started_at})
        assert await desk.claim(delivery) is None
        assert await desk.hands.heard() == [nak(0.5)]

    async def test_of_a_job_whose_end_could_not_be_stored_repeats_the_attempt(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        delivery, _ = await desk.of_another(worker=ME, attempt=2)
        desk.claims.unrecorded.append(delivery.job_id)
        claim = await desk.claim(delivery)
        assert isinstance(claim, Claim)
        record = claim.record
        assert (record.state, record.attempt, record.crashes) == (JobState.RUNNING, 2, 0)
        assert [(each.type, each.attempt) for each in record.errors] == [("ResultLost", 2)]
        assert desk.redelivered == 1
        assert "lost attempt 2: the attempt ended, but its outcome could not be stored" in caplog.text


@LASTING
class TestTheDeathOfAWorker:
    """What it means for a job that the worker ran."""

    BESIDE = "; other jobs may have been the cause, so it will run alone next"

    @pytest.mark.parametrize(
        ("worker", "crashes", "alone", "reason", "counted"),
        [
            ("other", 0, False, f"worker other died while running the job{BESIDE}", 0),
            ("other", 1, True, "worker other died while running the job; it ran alone", 2),
            (ME, 0, False, f"the worker lost track of the job{BESIDE}", 0),
        ],
    )
    async def test_lets_it_run_alone(
        self, desk: Desk, caplog: pytest.LogCaptureFixture, worker: str, crashes: int, alone: bool, reason: str, counted: int
    ) -> None:
        delivery, _ = await desk.of_another(worker=worker, crashes=crashes, alone=alone, attempt=2, started_at=5.0)
        claim = await desk.claim(delivery)
        assert isinstance(claim, Claim)
        record, _ = await desk.hands.stored(delivery)
        assert record == claim.record
        assert (record.state, record.attempt, record.worker) == (JobState.RUNNING, 3, ME)
        assert (record.crashes, record.suspect, record.alone) == (crashes + 1, True, True)
        assert record.crashes - record.excused == counted
        assert [(each.type, each.message, each.attempt, each.worker) for each in record.errors] == [
            ("WorkerLost", reason, 2, worker)
        ]
        assert f"lost attempt 2: {reason} (counted crashes: {counted} of 3)" in caplog.text
        assert desk.redelivered == 1
        assert not desk.isolation.is_open
        message = await desk.hands.last("results", delivery)
        assert message is not None
        assert claim.revision == message.sequence

    async def test_hands_it_back_while_another_suspect_has_the_worker(self, desk: Desk) -> None:
        first, _ = await desk.of_another()
        second, _ = await desk.of_another()
        assert isinstance(await desk.claim(first), Claim)
        assert await desk.claim(second) is None
        assert desk.claims.handed_back == 1
        record, _ = await desk.hands.stored(second)
        message = await desk.hands.last("results", second)
        assert message is not None
        assert desk.put_off == [Claim(record, message.sequence, message.sequence)]
        assert record.state is JobState.RETRYING

    async def test_is_no_reason_to_run_it_alone_when_there_were_too_many(self, desk: Desk) -> None:
        """It is claimed to be ended."""
        delivery, _ = await desk.of_another(crashes=2, alone=True)
        claim = await desk.claim(delivery)
        assert isinstance(claim, Claim)
        assert (claim.record.crashes, claim.record.alone) == (3, False)
        assert desk.isolation.is_open

    async def test_is_no_reason_to_run_it_when_it_is_too_late(self, desk: Desk) -> None:
        delivery = await desk.hands.take(expires=0.001)
        await desk.hands.store(desk.hands.record(delivery, worker="other"))
        await eventually(lambda: desk.connection.clock.now() > decode_envelope(delivery.data).expires)
        found = await desk.claim(delivery, 2)
        assert isinstance(found, Stored)
        assert (found.record.state, found.record.crashes) == (JobState.EXPIRED, 1)
        assert desk.isolation.is_open


@LASTING
class TestAnotherRunOfTheId:
    """The record is that of a run before or after."""

    async def of_run(self, desk: Desk, later: int, state: JobState = JobState.RUNNING, *, lives: bool) -> Delivery:
        delivery = await desk.hands.take(unique="k")
        record = desk.hands.record(delivery, worker="other", run="another", sequence=delivery.sequence + later, state=state)
        await desk.hands.store(record)
        running = {delivery.job_id: record.started_at} if lives else {}
        await announce(desk.connection, "other", at=record.started_at + 1, running=running)
        return delivery

    async def test_after_it_makes_it_void(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        delivery = await self.of_run(desk, 1, lives=False)
        with caplog.at_level(logging.INFO):
            assert await desk.claim(delivery) is None
        assert await desk.hands.heard() == ["+ACK"]
        assert "job unique=k: replaced by a later job" in caplog.text

    async def test_before_it_is_waited_for_while_it_runs(self, desk: Desk) -> None:
        delivery = await self.of_run(desk, -1, lives=True)
        assert await desk.claim(delivery) is None
        assert await desk.hands.heard() == [nak(_claim.BUSY_DELAY)]

    @pytest.mark.parametrize(("state", "lives"), [(JobState.RUNNING, False), (JobState.SUCCEEDED, True)])
    async def test_before_it_is_over(self, desk: Desk, state: JobState, lives: bool) -> None:
        delivery = await self.of_run(desk, -1, state, lives=lives)
        claim = await desk.claim(delivery)
        assert isinstance(claim, Claim)
        assert (claim.record.attempt, claim.record.crashes) == (1, 0)
        assert claim.record.run == decode_envelope(delivery.data).run


@pytest.mark.parametrize("claim", ["first", "late"])
async def test_a_job_is_not_started_when_its_lease_has_passed_since_its_claim(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch, claim: Any
) -> None:
    """The worker was frozen between the two: another one may have run the job by now."""
    times = iter([boottime() + 3600])
    monkeypatch.setattr(_active, "boottime", lambda: next(times, boottime()))
    job = await queue.options(claim=claim).enqueue(work.count_run)
    async with run_worker(concurrency=1):
        await job.result(30)
        assert await (await queue.enqueue(work.add, 1)).result(30) == 1
    assert next(times, None) is None
    assert work.runs[job.job_id] == 1
