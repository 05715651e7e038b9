"""The audit trail: noted before it is done, never changed, bounded, readable."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from naq_core.audit import Actor, activity, note_refusal, read_trail, recorded
from naq_core.errors import ConfigurationError, InvalidNameError, JetStreamError, JobNotFoundError, WrongSequenceError
from naq_core.storage import audit as audit_store
from naq_core.storage.connection import Connection
from naq_core.views import AuditEntry, AuditFilter
from tests.support.eventually import eventually

ADA = Actor("ada", "session")


async def trail(connection: Connection, **wanted: str) -> list[AuditEntry]:
    return (await read_trail(connection, AuditFilter(**wanted))).entries


async def test_where_nobody_has_done_anything_the_trail_is_empty(naq_connection: Connection) -> None:
    assert await trail(naq_connection) == []
    assert await activity(naq_connection, "job", "17") == []


async def test_an_action_is_in_the_trail_before_it_is_done(naq_connection: Connection) -> None:
    async with recorded(naq_connection, ADA, "cancel-job", "17", {"reason": "late", "nothing": ""}) as recording:
        (entry,) = await trail(naq_connection)
        assert (entry.action, entry.kind, entry.target, entry.by, entry.how) == ("cancel-job", "job", "17", "ada", "session")
        assert entry.details == {"reason": "late"}
        assert (entry.outcome, entry.ended_at) == ("begun", None)
        assert abs(entry.at - datetime.now(UTC)) < timedelta(minutes=1)
        recording.reason = "It is cancelled."
    (entry,) = await trail(naq_connection)
    assert (entry.outcome, entry.reason) == ("done", "It is cancelled.")
    assert entry.ended_at is not None
    assert entry.ended_at >= entry.at


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (JobNotFoundError("17"), "refused"),
        (JetStreamError("purge", 500, 1, "no room"), "failed"),
        (RuntimeError("a mistake"), "failed"),
        (asyncio.CancelledError(), "stopped"),
    ],
)
async def test_what_came_of_it_is_added(naq_connection: Connection, error: BaseException, outcome: str) -> None:
    with pytest.raises(type(error)):
        async with recorded(naq_connection, ADA, "cancel-job", "17"):
            raise error
    (entry,) = await trail(naq_connection)
    assert entry.outcome == outcome
    assert str(error) in entry.reason


@pytest.mark.naq(publish_budget="0.5s")
async def test_an_action_that_cannot_be_noted_is_not_done(naq_connection: Connection) -> None:
    names = naq_connection.names
    wrong = {"name": names.audit_stream, "subjects": [f"{names.audit}.elsewhere"], "retention": "limits", "storage": "file"}
    await naq_connection.api(f"STREAM.CREATE.{names.audit_stream}", wrong)
    done = False
    with pytest.raises(ConfigurationError):
        async with recorded(naq_connection, ADA, "purge-queue", "mail"):
            done = True
    assert not done


async def test_nothing_in_the_trail_can_be_changed_or_removed(naq_connection: Connection) -> None:
    async with recorded(naq_connection, ADA, "purge-queue", "mail"):
        pass
    before = await trail(naq_connection)
    names = naq_connection.names
    for operation, body in (
        (f"STREAM.PURGE.{names.audit_stream}", {}),
        (f"STREAM.MSG.DELETE.{names.audit_stream}", {"seq": 1}),
    ):
        with pytest.raises(JetStreamError):
            await naq_connection.api(operation, body)
    note = names.audit_note("queue", "mail", before[0].entry_id)
    forged = msgspec.json.encode({"at": 0.0, "action": "pause-queue", "kind": "queue", "target": "mail", "by": "bob"})
    with pytest.raises(WrongSequenceError):
        await naq_connection.publish(note, forged, {"Nats-Expected-Last-Subject-Sequence": "0"})
    await naq_connection.publish(names.audit_end(before[0].entry_id), b'{"at":0.0,"outcome":"refused"}')
    entries = await trail(naq_connection)
    assert entries == before, "the first outcome counts"


async def test_pages_and_filters(naq_connection: Connection) -> None:
    for number in range(12):
        who = Actor("ada" if number % 2 else "bob", "password")
        async with recorded(naq_connection, who, "pause-queue" if number % 3 else "cancel-job", f"q{number}"):
            pass
    await note_refusal(naq_connection, Actor("eve", "session"), "purge-queue", "q3", "eve may not purge-queue")
    found: list[str] = []
    cursor = None
    while True:
        page = await read_trail(naq_connection, limit=5, cursor=cursor)
        found += [entry.target for entry in page.entries]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == ["q3", *(f"q{number}" for number in reversed(range(12)))]
    assert [each.target for each in await trail(naq_connection, by="bob", action="pause-queue")] == ["q10", "q8", "q4", "q2"]
    assert [each.target for each in await trail(naq_connection, target="q1")] == ["q11", "q10", "q1"]
    assert [each.target for each in await trail(naq_connection, kind="job")] == ["q9", "q6", "q3", "q0"]
    (refused,) = await trail(naq_connection, outcome="refused")
    assert (refused.by, refused.action, refused.reason) == ("eve", "purge-queue", "eve may not purge-queue")
    assert [each.action for each in await activity(naq_connection, "queue", "q4")] == ["pause-queue"]
    bounded = await read_trail(naq_connection, AuditFilter(by="nobody"), max_scan=5)
    assert (bounded.entries, bounded.cursor is None) == ([], False)


@pytest.mark.parametrize(("limit", "cursor"), [(0, None), (501, None), (5, "x"), (5, "-1"), (5, "1" * 40), (5, "²")])
async def test_a_wrong_limit_or_cursor_is_refused(naq_connection: Connection, limit: int, cursor: str | None) -> None:
    with pytest.raises(ConfigurationError):
        await read_trail(naq_connection, limit=limit, cursor=cursor)


HOSTILE = ["a.b.>", "*", " ", "x" * 5000, "\r\nforged", "\udcff", "<script>", "é", ""]


@pytest.mark.parametrize("text", HOSTILE)
async def test_targets_and_details_may_be_anything(naq_connection: Connection, text: str) -> None:
    async with recorded(naq_connection, Actor(text, "proxy"), "delete-job", text, {text or "x": text}):
        pass
    (entry,) = await activity(naq_connection, "job", text)
    assert entry.outcome == "done"
    assert len(entry.target) <= 200
    (found,) = await trail(naq_connection)
    assert found == entry


@pytest.mark.parametrize("name", ["", "a b", "a.b", "*", ">", "x\r\nPUB y 0\r\n", "é", "x" * 65])
async def test_an_action_is_a_plain_name(naq_connection: Connection, name: str) -> None:
    with pytest.raises(InvalidNameError):
        async with recorded(naq_connection, ADA, name, "17"):
            raise AssertionError("nothing may be done")
    with pytest.raises(InvalidNameError):
        await note_refusal(naq_connection, ADA, name, "17", "no")
    with pytest.raises(InvalidNameError):
        await activity(naq_connection, name, "17")


async def test_garbage_in_the_stream_is_passed_over(naq_connection: Connection) -> None:
    async with recorded(naq_connection, ADA, "pause-queue", "mail"):
        pass
    names = naq_connection.names
    for data in (b"", b"{", b"[" * 10_000, b'{"at":1e300,"action":"x","kind":"job","target":"17"}'):
        await naq_connection.publish(names.audit_note("job", "17", f"garbage{len(data)}"), data)
        await naq_connection.publish(f"{names.audit}.x", data)
    entries = await trail(naq_connection)
    assert entries[-1].target == "mail"
    assert {each.action for each in entries} == {"unreadable", "pause-queue"}


@pytest.mark.parametrize("few", [0, 200])
async def test_what_was_done_to_one_thing_is_found_among_many(
    naq_connection: Connection, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(audit_store, "FEW", few)
    for number in range(60):
        async with recorded(naq_connection, ADA, "pause-queue", f"q{number % 4}", {"number": number}):
            pass
    found = await activity(naq_connection, "queue", "q1", 5)
    assert [each.details["number"] for each in found] == ["57", "53", "49", "45", "41"]
    assert {each.outcome for each in found} == {"done"}
    assert len(await activity(naq_connection, "queue", "q1", 50)) == 15
    assert await activity(naq_connection, "queue", "q9") == []


async def test_refused_attempts_push_out_nothing_else(naq_connection: Connection) -> None:
    await note_refusal(naq_connection, ADA, "purge-queue", "mail", "no")
    config = (await naq_connection.api(f"STREAM.INFO.{naq_connection.names.audit_stream}"))["config"]
    assert config["max_msgs_per_subject"] < config["max_msgs"] / 10
    assert config["max_age"] == 90 * 86400 * 10**9
    assert (config["deny_delete"], config["deny_purge"]) == (True, True)


async def test_followers_hear_of_it(naq_connection: Connection) -> None:
    heard: list[bytes] = []

    def hear(subject: bytes, _reply: bytes, _data: bytes, _headers: bytes) -> None:
        heard.append(subject)

    client: Any = naq_connection.client
    subscription = await client.listen(f"{naq_connection.names.namespace}.event.audit.>", hear)
    async with recorded(naq_connection, ADA, "pause-queue", "mail") as recording:
        pass

    async def told() -> None:
        assert [subject.decode().partition(".event.audit.")[2] for subject in heard] == [
            f"queue.mail.{recording.entry_id}",
            f"end.{recording.entry_id}",
        ]

    await eventually(told)
    client.unlisten(subscription)
