"""What becomes of a job's record and message when an attempt has ended: on the real server, without a worker."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core import JobState, PayloadTooLargeError, transitions
from naq_core.envelope import NO_OPTIONS, JobOptions
from naq_core.previews import clean_text
from naq_core.record import AttemptError, JobRecord
from naq_core.results import result_bytes
from naq_core.retry import RetryPolicy
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery
from naq_core.storage.messages import due_of
from naq_core.transport.streams import read_last
from naq_worker import _settle
from naq_worker._active import Claim, Counters
from naq_worker._backpressure import Backpressure
from naq_worker._settle import Settler
from naq_worker.outcome import Cancelled, Completed, Crashed, Failed, Interrupted, Outcome, Short, Snoozed
from tests.support.hands import ME, Hands, nak, open_hands

LARGE = 5000
TTL = {"result_ttl": 100, "failure_ttl": 200, "dead_ttl": 300}
DONE = Completed("json", b"[1]", "1")

pytestmark = pytest.mark.naq(
    ack_wait=600, large_threshold=LARGE, publish_budget=10, **{name: timedelta(seconds=ttl) for name, ttl in TTL.items()}
)


class Desk:
    """A settler, and what it asked for."""

    def __init__(self, hands: Hands) -> None:
        self.hands, self.connection = hands, hands.connection
        self.counters = Counters()
        self.ended: list[tuple[str, JobState]] = []
        """The jobs whose duties are to be done, with their states."""
        self.is_limited = False
        self.settler = Settler(
            hands.connection, self.counters, Backpressure(lambda: None), self._finish, lambda _: self.is_limited
        )

    def _finish(self, delivery: Delivery, record: JobRecord, _options: JobOptions) -> None:
        self.ended.append((delivery.job_id, record.state))

    async def settle(self, delivery: Delivery, claim: Claim, outcome: Outcome, **options: Any) -> JobState | None:
        return await self.settler.settle(delivery, JobOptions(**options), claim, outcome)

    async def settled(
        self, outcome: Outcome, options: dict[str, Any] | None = None, **changes: Any
    ) -> tuple[Delivery, JobRecord, str]:
        """Settle a job of its own whose claim is changed so; return its delivery, and its record with its time to live."""
        delivery, claim = await self.hands.claim(**changes)
        state = await self.settle(delivery, claim, outcome, **(options or {}))
        record, ttl = await self.hands.stored(delivery)
        assert record.state is state
        return delivery, record, ttl

    async def archived(self, delivery: Delivery, place: str) -> None:
        """Assert that the whole job is kept, for as long as it can be put back."""
        kept = await self.hands.last(place, delivery)
        assert kept is not None
        assert kept.data == delivery.data
        assert kept.headers["Nats-TTL"] == "300s"
        assert kept.headers["Nats-Schedule-Target"] == delivery.subject


@pytest_asyncio.fixture
async def desk(queue: Queue) -> AsyncIterator[Desk]:
    async with open_hands(queue) as hands:
        yield Desk(hands)


def policy(max_retries: int, *delays: float) -> dict[str, Any]:
    return {"retry": RetryPolicy(max_retries=max_retries, delays=delays or (0.0,))}


def lines(caplog: pytest.LogCaptureFixture, delivery: Delivery) -> list[str]:
    """Return what the worker has logged of a job's attempts, without its name."""
    found = [each for each in caplog.records if each.name == "naq_worker.jobs" and vars(each)["job_id"] == delivery.job_id]
    return [each.getMessage().partition(") ")[2] for each in found]


@pytest.mark.naq(signing_key=("k" * 32,))
async def test_a_success_is_stored_with_its_result_and_leaves_the_acknowledgement_to_its_duties(desk: Desk) -> None:
    before = desk.connection.clock.now()
    delivery, record, ttl = await desk.settled(DONE)
    assert (record.state, record.result_type, record.result_text) == (JobState.SUCCEEDED, "json", "1")
    assert await result_bytes(desk.connection, record) == b"[1]"
    assert before <= record.ended_at <= desk.connection.clock.now()
    assert ttl == "100s"
    assert desk.ended == [(delivery.job_id, JobState.SUCCEEDED)]
    assert desk.counters == Counters(succeeded=1)
    assert await desk.hands.heard() == []
    assert await desk.hands.last("dead", delivery) is await desk.hands.last("kept", delivery) is None
    assert (await desk.settled(DONE, {"result_ttl": 77}))[2] == "77s"


async def test_a_large_result_goes_to_the_object_store_and_outlives_its_record(desk: Desk) -> None:
    connection = desk.connection
    assert connection.large_limit == LARGE
    _, record, _ = await desk.settled(Completed("json", b"x" * LARGE))
    assert (record.large, len(record.result)) == (None, LARGE)
    _, record, ttl = await desk.settled(Completed("json", b"x" * (LARGE + 1)))
    assert record.result == b""
    assert record.large is not None
    assert await result_bytes(connection, record) == b"x" * (LARGE + 1)
    names = connection.names
    chunk = await read_last(connection, names.objects_stream, names.object_chunks(record.large.name))
    assert chunk is not None
    assert (ttl, chunk.headers["Nats-TTL"]) == ("100s", "120s"), "it is stored first, and each write may take the budget"


async def test_the_large_result_of_a_job_that_was_lost_is_removed(desk: Desk) -> None:
    delivery, claim = await desk.hands.claim()
    await desk.hands.store(desk.hands.record(delivery, worker="other"))
    assert await desk.settle(delivery, claim, Completed("json", b"x" * (LARGE + 1))) is None
    names = desk.connection.names
    assert await read_last(desk.connection, names.objects_stream, f"$O.{names.objects}.>") is None
    assert desk.ended == []


def lower_the_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Have the next record refused as too large, as the server's limit has just been lowered."""
    write = desk.settler._records.write

    async def refuse(*_: object, **__: object) -> None:
        monkeypatch.setattr(desk.settler._records, "write", write)
        monkeypatch.setattr(Connection, "large_limit", limit)
        raise PayloadTooLargeError("the record", 2, 1)

    monkeypatch.setattr(desk.settler._records, "write", refuse)


async def test_a_result_that_was_to_fit_is_stored_as_a_large_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lower_the_limit(desk, monkeypatch, 99)
    _, record, _ = await desk.settled(Completed("json", b"x" * 100))
    assert (record.state, record.result) == (JobState.SUCCEEDED, b"")
    assert await result_bytes(desk.connection, record) == b"x" * 100
    assert desk.counters == Counters(succeeded=1)


@pytest.mark.naq(signing_key=("k" * 32,))
@pytest.mark.parametrize("size", [100, LARGE + 1])
async def test_a_success_that_the_server_does_not_take_is_a_failure(
    desk: Desk, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower_the_limit(desk, monkeypatch, 100)
    delivery, record, ttl = await desk.settled(Completed("json", b"x" * size, "x"), policy(5))
    assert (record.state, record.result_type, record.result, record.signature) == (JobState.DEAD, "", b"", b"")
    (error,) = record.errors
    assert error.type == "naq_core.errors.PayloadTooLargeError"
    assert error.message.startswith("the result: the record takes 2 bytes")
    assert ttl == "200s"
    assert desk.ended == [(delivery.job_id, JobState.DEAD)]
    assert desk.counters == Counters(failed=1)


async def test_a_failure_with_retries_left_is_handed_back_for_its_delay(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Attempt 3, of which one ended with its worker: the second failure, with a delay of its own."""
    failed = Failed("ValueError", "n" + "o" * 2000, "Traceback\n")
    before = desk.connection.clock.now()
    delivery, record, ttl = await desk.settled(failed, policy(2, 3, 5), attempt=3, crashes=1)
    after = desk.connection.clock.now()
    assert record.state is JobState.RETRYING
    assert before + 5 <= record.next_at <= after + 5
    assert ttl == "205s"
    assert await desk.hands.heard() == [nak(5)]
    (error,) = record.errors
    assert (error.type, error.traceback, error.attempt, error.worker) == ("ValueError", "Traceback\n", 3, ME)
    assert error.message == clean_text(failed.message, 2000) != failed.message
    assert before <= error.at <= after
    assert desk.counters == Counters(retried=1)
    assert desk.ended == []
    (line,) = lines(caplog, delivery)
    assert line.startswith("failed at attempt 3 of 4 and will be retried in 5 s: ValueError: no")
    _, record, _ = await desk.settled(Failed("Retry", "again", delay=7), policy(1, 3))
    assert await desk.hands.heard() == [nak(7)]


@pytest.mark.parametrize(
    ("failed", "attempt", "retries"), [(Failed("ValueError", "no"), 3, 2), (Failed("ValueError", "no", retry=False), 1, 2)]
)
async def test_a_failure_without_a_retry_ends_the_job(
    desk: Desk, caplog: pytest.LogCaptureFixture, failed: Failed, attempt: int, retries: int
) -> None:
    delivery, record, ttl = await desk.settled(failed, policy(retries), attempt=attempt)
    assert record.state is JobState.DEAD
    assert 0 < record.ended_at <= desk.connection.clock.now()
    assert ttl == "200s"
    await desk.archived(delivery, "dead")
    assert desk.ended == [(delivery.job_id, JobState.DEAD)]
    assert desk.counters == Counters(failed=1)
    assert lines(caplog, delivery) == [f"failed for good at attempt {attempt} of 3: ValueError: no"]
    assert await desk.hands.heard() == []


async def test_a_long_delay_becomes_a_held_message_and_much_earlier_in_a_limited_queue(desk: Desk) -> None:
    for is_limited, most in ((False, _settle.LONGEST_NAK), (True, _settle.LONGEST_NAK_IF_LIMITED)):
        desk.is_limited = is_limited
        delivery, record, _ = await desk.settled(Failed("E", "m"), policy(1, most))
        assert await desk.hands.heard() == [nak(most)]
        assert record.superseded == 0
        assert await desk.hands.last("held", delivery) is None
        delivery, record, ttl = await desk.settled(Failed("E", "m"), policy(1, most + 8))
        assert await desk.hands.heard() == ["+ACK"]
        assert (record.state, record.superseded) == (JobState.RETRYING, delivery.sequence)
        held = await desk.hands.last("held", delivery)
        assert held is not None
        assert held.data == delivery.data
        assert held.headers["Nats-Schedule-Target"] == delivery.subject
        due = due_of(held)
        assert due is not None
        assert abs(record.next_at - due) < 5
        assert ttl == f"{math.ceil(most + 208)}s"


async def test_a_crash_is_counted_and_runs_again_at_once_until_there_were_too_many(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    delivery, record, _ = await desk.settled(Crashed("exit code 7"), crashes=1, suspect=True, attempt=2)
    assert (record.state, record.crashes, record.suspect) == (JobState.RETRYING, 2, True)
    assert [(each.type, each.message) for each in record.errors] == [("WorkerLost", "exit code 7")]
    assert record.next_at <= desk.connection.clock.now()
    assert await desk.hands.heard() == ["-NAK"]
    assert lines(caplog, delivery) == ["failed at attempt 2 and will be retried at once: WorkerLost: exit code 7"]
    delivery, record, _ = await desk.settled(Crashed("exit code 7"), crashes=2, attempt=3)
    assert (record.state, record.crashes) == (JobState.DEAD, 3)
    assert desk.ended == [(delivery.job_id, JobState.DEAD)]
    assert lines(caplog, delivery) == ["failed for good at attempt 3: WorkerLost: exit code 7"]


@pytest.mark.parametrize(
    ("outcome", "is_suspect"),
    [(DONE, False), (Failed("E", "m"), False), (Snoozed(1), False), (Interrupted(), True), (Short("no memory"), True)],
)
async def test_an_attempt_that_ended_by_itself_takes_the_suspicion_away(desk: Desk, outcome: Outcome, is_suspect: bool) -> None:
    _, record, _ = await desk.settled(outcome, policy(3), attempt=2, crashes=1, suspect=True, alone=True)
    assert (record.alone, record.suspect) == (False, is_suspect)


async def test_a_snooze_uses_up_no_attempt(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "naq_worker.jobs"):
        delivery, record, _ = await desk.settled(Snoozed(2, "not now"), attempt=3)
    assert (record.state, record.attempt, record.reason) == (JobState.RETRYING, 2, "not now")
    assert await desk.hands.heard() == [nak(2)]
    assert desk.counters == Counters()
    assert lines(caplog, delivery) == ["was snoozed and will run again in 2 s: not now"]


async def test_a_job_that_gives_up_is_kept_whole(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "naq_worker.jobs"):
        delivery, record, ttl = await desk.settled(Cancelled("no need"))
    assert (record.state, record.reason, ttl) == (JobState.CANCELLED, "no need", "200s")
    assert record.ended_at > 0
    await desk.archived(delivery, "kept")
    assert desk.ended == [(delivery.job_id, JobState.CANCELLED)]
    assert desk.counters == Counters()
    assert lines(caplog, delivery) == ["was cancelled: no need"]


@pytest.mark.parametrize(
    ("lease_lost", "reason", "line"),
    [
        (False, "returned by a stopping worker", "was interrupted because the worker is stopping; it returns to its queue"),
        (True, "lease lost", "was interrupted because its lease was lost; it returns to its queue"),
    ],
)
async def test_an_interrupted_job_goes_back_to_its_queue(
    desk: Desk, caplog: pytest.LogCaptureFixture, lease_lost: bool, reason: str, line: str
) -> None:
    with caplog.at_level(logging.INFO, "naq_worker.jobs"):
        delivery, record, ttl = await desk.settled(Interrupted(lease_lost=lease_lost))
    assert (record.state, record.reason, ttl) == (JobState.QUEUED, reason, "200s")
    assert lines(caplog, delivery) == [line]
    assert await desk.hands.heard() == ["-NAK"]
    assert (await desk.hands.next()).key == delivery.key


async def test_what_the_worker_could_not_run_goes_back_until_the_job_may_be_to_blame(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    most = _settle.MOST_DELIVERIES
    handed_back = 0
    for is_its_own, delivered in ((True, most - 1), (False, most + 5)):
        delivery, claim = await desk.hands.claim()
        delivery.delivered = delivered
        await desk.settle(delivery, claim, Short("r" * 1000, may_be_the_jobs=is_its_own))
        handed_back += 1
        assert desk.settler.handed_back == handed_back
        record, _ = await desk.hands.stored(delivery)
        assert (record.state, record.reason) == (JobState.QUEUED, clean_text("r" * 1000, _settle.LONGEST_REASON))
        assert await desk.hands.heard() == ["-NAK"]
        assert lines(caplog, delivery) == [f"is returned to its queue: {'r' * 300}"]
    delivery, claim = await desk.hands.claim()
    delivery.delivered = most
    await desk.settle(delivery, claim, Short("no memory", may_be_the_jobs=True))
    record, _ = await desk.hands.stored(delivery)
    assert (record.state, [each.type for each in record.errors]) == (JobState.DEAD, ["ShortageError"])
    assert desk.settler.handed_back == handed_back


class TestALostJob:
    """Its record was written by somebody else while it ran."""

    async def lose(
        self, desk: Desk, outcome: Outcome = DONE, *, final: JobState | None = None, **changes: Any
    ) -> tuple[Delivery, Any]:
        delivery, claim = await desk.hands.claim()
        other = desk.hands.record(delivery, **changes)
        if final is not None:
            other.state = final
        await desk.hands.store(other)
        return delivery, await desk.settle(delivery, claim, outcome)

    @pytest.mark.parametrize("other", [{"worker": "other"}, {"run": "other", "final": JobState.SUCCEEDED}])
    async def test_to_another_worker_is_dropped(
        self, desk: Desk, caplog: pytest.LogCaptureFixture, other: dict[str, Any]
    ) -> None:
        delivery, state = await self.lose(desk, **other)
        assert state is None
        assert desk.ended == []
        assert desk.counters == Counters()
        said = "was taken over by another worker: the outcome of this attempt is discarded"
        assert lines(caplog, delivery) == [said]
        assert await desk.hands.heard() == []

    async def test_of_which_nothing_is_left_is_dropped(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        delivery, claim = await desk.hands.claim()
        names = desk.connection.names
        for stream in (names.results_stream, names.jobs_stream):
            await desk.connection.api(f"STREAM.PURGE.{stream}", {})
        assert await desk.settle(delivery, claim, DONE) is None
        assert desk.ended == []
        assert "was taken over" in lines(caplog, delivery)[0]

    @pytest.mark.parametrize(("worker", "expected"), [(ME, JobState.CANCELLED), ("", None)])
    async def test_that_was_cancelled_is_kept_whole(
        self, desk: Desk, caplog: pytest.LogCaptureFixture, worker: str, expected: JobState | None
    ) -> None:
        """One that was cancelled before its claim has been counted by the canceller."""
        with caplog.at_level(logging.INFO, "naq_worker.jobs"):
            delivery, state = await self.lose(desk, final=JobState.CANCELLED, worker=worker, reason="by hand")
        assert state is expected
        assert desk.ended == [(delivery.job_id, JobState.CANCELLED)]
        assert desk.counters == Counters(skipped=1)
        await desk.archived(delivery, "kept")
        assert lines(caplog, delivery) == ["was cancelled: by hand"]

    @pytest.mark.parametrize("outcome", [Failed("ValueError", "no", "Traceback\n"), DONE])
    async def test_that_has_ended_already_has_its_duties_done(
        self, desk: Desk, caplog: pytest.LogCaptureFixture, outcome: Outcome
    ) -> None:
        delivery, state = await self.lose(desk, outcome, final=JobState.SUCCEEDED)
        assert state is None
        assert desk.ended == [(delivery.job_id, JobState.SUCCEEDED)]
        assert desk.counters == Counters(skipped=1)
        assert await desk.hands.last("kept", delivery) is await desk.hands.last("dead", delivery) is None
        assert lines(caplog, delivery) == ["had ended already (succeeded): the outcome of this attempt is discarded"]
        (record,) = [each for each in caplog.records if each.name == "naq_worker.jobs"]
        assert bool(record.exc_info) is isinstance(outcome, Failed)


async def test_a_job_that_took_down_its_workers_ends_with_the_last_crash(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    errors = [AttemptError("WorkerLost", "first"), AttemptError("WorkerLost", "last")]
    delivery, claim = await desk.hands.claim(errors=errors, attempt=3)
    await desk.settler.die_of_crashes(delivery, lambda: NO_OPTIONS, claim)
    assert (await desk.hands.stored(delivery))[0].state is JobState.DEAD
    assert lines(caplog, delivery) == ["failed for good at attempt 3: WorkerLost: last"]
    assert desk.ended == [(delivery.job_id, JobState.DEAD)]
    delivery, claim = await desk.hands.claim(errors=errors)
    await desk.hands.store(desk.hands.record(delivery, worker="other"))
    await desk.settler.die_of_crashes(delivery, lambda: NO_OPTIONS, claim)
    assert (await desk.hands.stored(delivery))[0].state is JobState.RUNNING


async def test_what_is_no_job_is_kept_with_the_reason_whatever_its_size(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    connection, names = desk.connection, desk.connection.names
    await connection.publish(names.ready("default", "foreign"), b"garbage")
    delivery = await desk.hands.next()
    for _ in range(2):  # its acknowledgement was lost
        await desk.settler.dead_letter(delivery, ValueError("not a job"))
        record, ttl = await desk.hands.stored(delivery)
        assert (record.state, record.function, record.attempt, ttl) == (JobState.DEAD, "?", 0, "200s")
        assert [(each.type, each.message) for each in record.errors] == [("ValueError", "not a job")]
        assert record.ended_at > 0
        await desk.archived(delivery, "dead")
    assert desk.ended == [("foreign", JobState.DEAD)] * 2
    assert desk.counters == Counters(failed=2)
    await connection.publish(names.ready("default", "huge"), bytes(connection.max_payload - 20))
    delivery = await desk.hands.next()
    caplog.clear()
    await desk.settler.dead_letter(delivery, ValueError("not a job"))
    assert (await desk.hands.stored(delivery))[0].state is JobState.DEAD
    assert await desk.hands.last("dead", delivery) is None
    assert "job huge cannot be archived for a requeue: the job takes" in caplog.text
    assert desk.ended[2:] == [("huge", JobState.DEAD)]


@pytest.mark.parametrize(
    ("state", "place"), [(JobState.DEAD, "dead"), (JobState.CANCELLED, "kept"), (JobState.SUCCEEDED, ""), (JobState.EXPIRED, "")]
)
async def test_the_duties_of_a_job_that_has_ended_may_be_done_twice(desk: Desk, state: JobState, place: str) -> None:
    delivery, claim = await desk.hands.claim()
    claim.record.state = state
    for _ in range(2):
        await desk.settler.finish_duties(delivery, claim.record, NO_OPTIONS)
        assert [each for each in ("dead", "kept") if await desk.hands.last(each, delivery)] == ([place] if place else [])
    assert desk.counters == Counters(skipped=2)
    assert desk.ended == [(delivery.job_id, state)] * 2


async def test_the_message_of_a_job_that_ended_without_a_run_is_kept(desk: Desk) -> None:
    delivery, claim = await desk.hands.claim()
    transitions.cancelled(claim.record, 1.0, "a parent has failed")
    await desk.settler.end_unrun(delivery, claim.record, NO_OPTIONS)
    await desk.archived(delivery, "kept")
    assert desk.counters == Counters()
    assert desk.ended == [(delivery.job_id, JobState.CANCELLED)]


async def test_a_late_delivery_does_not_bury_what_was_put_back(desk: Desk) -> None:
    delivery, _ = await desk.hands.claim()
    names = desk.connection.names
    later = await desk.connection.publish(names.ready("default", delivery.job_id), delivery.data)
    await desk.settler.archive(delivery, JobState.DEAD)
    assert await desk.hands.last("dead", delivery) is None
    there = await desk.hands.last("normal", delivery)
    assert there is not None
    assert there.sequence == later


async def test_a_running_job_is_claimed_and_tells_its_news(desk: Desk) -> None:
    delivery = await desk.hands.take()
    claim = Claim(desk.hands.record(delivery), 0, 0)
    assert await desk.settler.progress(claim, has_news=False)
    first = await desk.hands.last("results", delivery)
    assert first is not None
    assert claim.revision == first.sequence
    assert "Naq-Progress" not in first.headers
    assert await desk.settler.progress(claim, has_news=False)
    assert await desk.hands.last("results", delivery) == first, "there is nothing to tell"
    assert await desk.settler.progress(claim)
    second = await desk.hands.last("results", delivery)
    assert second is not None
    assert claim.revision == second.sequence > first.sequence
    assert second.headers["Naq-Progress"] == "-"
    assert "Nats-TTL" not in second.headers
    await desk.hands.store(desk.hands.record(delivery, worker="other"))
    assert not await desk.settler.progress(claim)


@pytest.mark.parametrize("has_news", [False, True])
async def test_the_news_of_a_running_job_are_not_insisted_on(
    desk: Desk, has_news: bool, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = await desk.hands.take()
    record = desk.hands.record(delivery)
    claim = await desk.hands.store(record) if has_news else Claim(record, 0, 0)
    tried: list[bool] = []

    async def refuse(*_: object, insists: bool = True, **__: object) -> None:
        tried.append(insists)

    desk.settler._records.write = refuse  # type: ignore[method-assign]
    assert await desk.settler.progress(claim, has_news=has_news)
    assert tried == [False]


async def test_a_suspect_is_put_off_as_a_held_job_where_the_queue_is_limited(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    delivery, claim = await desk.hands.claim(state=JobState.QUEUED, attempt=2)
    await desk.settler.put_off(delivery, claim)
    assert await desk.hands.heard() == [nak(_settle.PUT_OFF)]
    assert (await desk.hands.stored(delivery))[0].state is JobState.QUEUED
    desk.is_limited = True
    delivery, claim = await desk.hands.claim(state=JobState.QUEUED, attempt=2)
    await desk.settler.put_off(delivery, claim)
    record, _ = await desk.hands.stored(delivery)
    assert (record.state, record.attempt, record.superseded) == (JobState.RETRYING, 1, delivery.sequence)
    assert await desk.hands.heard() == ["+ACK"]
    delivery, claim = await desk.hands.claim(state=JobState.QUEUED)
    await desk.hands.store(desk.hands.record(delivery, worker="other"))
    await desk.settler.put_off(delivery, claim)
    assert (await desk.hands.stored(delivery))[0].worker == "other"
    assert await desk.hands.heard() == []
