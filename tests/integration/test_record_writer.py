"""Writing the record of a running job: by compare-and-set, again where it vanished, and for as long as the server refuses it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core import JobState, PayloadTooLargeError
from naq_core.errors import JetStreamError, WrongSequenceError
from naq_core.record import AttemptError
from naq_worker import _record_writer
from naq_worker._active import Claim
from naq_worker._backpressure import Backpressure
from naq_worker._record_writer import LostError, RecordWriter
from tests.support.eventually import eventually
from tests.support.hands import Hands, open_hands

pytestmark = pytest.mark.naq(ack_wait=600)


@pytest_asyncio.fixture
async def hands(queue: Queue) -> AsyncIterator[Hands]:
    async with open_hands(queue) as made:
        yield made


@pytest.fixture
def writer(hands: Hands) -> RecordWriter:
    return RecordWriter(hands.connection, Backpressure(lambda: None))


@pytest.mark.parametrize(("ttl", "shown"), [(None, ""), (1.5, "2s")])
async def test_a_record_is_kept_for_its_time(hands: Hands, writer: RecordWriter, ttl: float | None, shown: str) -> None:
    delivery, claim = await hands.claim()
    before = claim.revision
    await writer.write(claim, ttl)
    message = await hands.last("results", delivery)
    assert message is not None
    assert claim.revision == message.sequence > before
    assert message.headers.get("Nats-TTL", "") == shown
    assert "Naq-Progress" not in message.headers


async def test_a_record_that_is_too_large_loses_what_can_be_spared_of_its_errors(hands: Hands, writer: RecordWriter) -> None:
    delivery, claim = await hands.claim()
    claim.record.errors = [AttemptError(str(number), "m" * 1000, "t" * 400_000) for number in range(4)]
    await writer.write(claim, None)
    record, _ = await hands.stored(delivery)
    assert record.errors == claim.record.errors
    assert [(each.type, each.message, each.traceback) for each in record.errors] == [(kind, "m" * 200, "") for kind in "123"]


@pytest.mark.parametrize("errors", [[], [AttemptError("E", "m")]])
async def test_a_result_that_is_too_large_is_for_the_caller_to_deal_with(
    hands: Hands, writer: RecordWriter, errors: list[AttemptError]
) -> None:
    delivery, claim = await hands.claim()
    claim.record.errors, claim.record.result = errors, bytes(hands.connection.max_payload)
    said = f"the record of job {delivery.job_id} takes"
    with pytest.raises(PayloadTooLargeError, match=said):
        await writer.write(claim, None)
    claim.record.errors, claim.record.result, claim.record.arguments = [], b"", "a" * hands.connection.max_payload
    with pytest.raises(PayloadTooLargeError, match=said):
        await writer.write(claim, None)


OTHERS: dict[str, dict[str, Any]] = {
    "worker": {"worker": "other"},
    "run": {"run": "other"},
    "claim of this worker": {"started_at": 1.0},
    "end": {"state": JobState.CANCELLED},
}


@pytest.mark.parametrize("is_claimed", [True, False])
@pytest.mark.parametrize("other", OTHERS)
async def test_the_record_of_another_is_left_alone(hands: Hands, writer: RecordWriter, is_claimed: bool, other: str) -> None:
    delivery = await hands.take()
    record = hands.record(delivery)
    claim = await hands.store(record) if is_claimed else Claim(record, 0, 0)
    await hands.store(hands.record(delivery, **{"started_at": record.started_at, **OTHERS[other]}))
    there = await hands.last("results", delivery)
    with pytest.raises(LostError):
        await writer.write(claim, None)
    assert await hands.last("results", delivery) == there


@pytest.mark.parametrize("is_claimed", [True, False])
async def test_an_earlier_write_whose_outcome_stayed_unknown_is_ones_own(
    hands: Hands, writer: RecordWriter, is_claimed: bool
) -> None:
    """The claim, or the news of the running job, were stored after all."""
    delivery = await hands.take()
    record = hands.record(delivery)
    claim = Claim(record, 0, 0)
    if is_claimed:
        await writer.write(claim, None)
    unknown = Claim(record, claim.revision, 0)
    await writer.write(unknown, None, progress=True)
    assert unknown.revision != claim.revision
    await writer.write(claim, 7, progress=True)
    message = await hands.last("results", delivery)
    assert message is not None
    assert claim.revision == message.sequence > unknown.revision
    assert (message.headers["Nats-TTL"], message.headers["Naq-Progress"]) == ("7s", "-")


@pytest.mark.parametrize("how", ["purged", "marked"])
async def test_a_record_that_was_deleted_under_its_job_is_written_again(hands: Hands, writer: RecordWriter, how: str) -> None:
    delivery, claim = await hands.claim()
    names = hands.connection.names
    subject = names.result(delivery.queue, delivery.job_id)
    if how == "marked":
        await hands.connection.publish(subject, b"", {"KV-Operation": "DEL"})
    else:
        await hands.connection.api(f"STREAM.PURGE.{names.results_stream}", {})
    await writer.write(claim, None)
    message = await hands.last("results", delivery)
    assert message is not None
    assert message.data
    assert claim.revision == message.sequence
    await hands.connection.api(f"STREAM.PURGE.{names.results_stream}", {})
    await hands.connection.api(f"STREAM.PURGE.{names.jobs_stream}", {})
    with pytest.raises(LostError):
        await writer.write(claim, None)
    assert await hands.last("results", delivery) is None, "the job was deleted too"


async def fill(hands: Hands, *, is_full: bool) -> None:
    """Let the bucket of the records be full, or have room again."""
    stream = hands.connection.names.results_stream
    info = await hands.connection.api(f"STREAM.INFO.{stream}")
    most = info["state"]["bytes"] if is_full else -1
    await hands.connection.api(f"STREAM.UPDATE.{stream}", {**info["config"], "max_bytes": most})


async def test_an_end_is_insisted_on_and_news_are_not(
    hands: Hands, writer: RecordWriter, caplog: pytest.LogCaptureFixture
) -> None:
    delivery, claim = await hands.claim()
    claim.record.arguments = "a" * 1000
    await fill(hands, is_full=True)
    with pytest.raises(JetStreamError, match="maximum bytes"):
        await writer.write(claim, None, insists=False)
    assert caplog.records == []
    writing = asyncio.ensure_future(writer.write(claim, None))
    await eventually(lambda: bool(caplog.records))
    await fill(hands, is_full=False)
    await writing
    said = f"job {delivery.job_id} finished, but its outcome cannot be stored yet: "
    assert [each.getMessage()[: len(said)] for each in caplog.records] == [said]


async def test_the_pauses_grow_and_it_is_said_once(hands: Hands, writer: RecordWriter, caplog: pytest.LogCaptureFixture) -> None:
    record = hands.record(await hands.take())
    loop = asyncio.get_running_loop()
    tried: list[float] = []

    async def store() -> str:
        tried.append(loop.time())
        if len(tried) < 4:
            raise JetStreamError("refused", 503, 10077, "maximum bytes exceeded")
        return "stored"

    assert await writer.insist(record, store) == "stored"
    pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
    first = _record_writer.INSIST
    assert all(pause >= 0.9 * least for pause, least in zip(pauses, (first, 2 * first, 4 * first), strict=True))
    assert len(caplog.records) == 1


@pytest.mark.naq(publish_budget=0.2)
async def test_a_refusal_that_lasts_is_raised_when_the_budget_is_used_up_and_a_lost_job_at_once(
    hands: Hands, writer: RecordWriter, caplog: pytest.LogCaptureFixture
) -> None:
    record = hands.record(await hands.take())
    errors: list[JetStreamError] = []

    async def store() -> None:
        errors.append(JetStreamError("refused", 503, 10077, "maximum bytes exceeded"))
        raise errors[-1]

    with caplog.at_level(logging.CRITICAL), pytest.raises(JetStreamError) as caught:
        await writer.insist(record, store)
    assert caught.value is errors[-1]
    assert len(errors) > 1

    async def lose() -> None:
        raise WrongSequenceError("lost", 400, 10071, "wrong last sequence: 1")

    with pytest.raises(WrongSequenceError):
        await writer.insist(record, lose)
    assert caplog.records == []
