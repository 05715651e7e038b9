"""Moving a job between its subjects, on the real server."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from naq_core import Connection, Settings
from naq_core.storage.messages import Moved, due_of, move, release, remove, reschedule, schedule_headers, target_of
from naq_core.storage.records import find_job
from naq_core.storage.subjects import state_of_subject
from naq_core.storage.topology import ensure_queue
from naq_core.transport.headers import EXPECTED_SEQUENCE
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last
from tests.support.eventually import eventually
from tests.support.lost import lose_one_answer


@pytest_asyncio.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with Connection(settings, name="test-moves") as opened:
        await ensure_queue(opened, "q")
        yield opened


async def hold(connection: Connection, job_id: str = "a", due: float | None = None, level: str = "normal") -> Message:
    names = connection.names
    headers = {EXPECTED_SEQUENCE: "0", **schedule_headers(names.ready("q", job_id, level), due)}
    await connection.publish(names.held("q", job_id), b"job", headers)
    return await found(connection, job_id)


async def found(connection: Connection, job_id: str = "a") -> Message:
    message = await find_job(connection, job_id, "q")
    assert message is not None
    return message


async def subjects(connection: Connection) -> dict[str, int]:
    """Return each job's subject, without the common part, and how many messages lie on it."""
    names = connection.names
    info = await connection.api(f"STREAM.INFO.{names.jobs_stream}", {"subjects_filter": ">"})
    return {subject.removeprefix(f"{names.jobs}."): count for subject, count in (info["state"].get("subjects") or {}).items()}


async def test_a_held_job_tells_when_it_is_due_and_where_it_goes(connection: Connection) -> None:
    due = time.time() + 3600
    message = await hold(connection, due=due, level="high")
    assert due_of(message) == pytest.approx(due, abs=0.001)
    assert target_of(message) == connection.names.ready("q", "a", "high")
    assert due_of(await hold(connection, "b")) is None


async def test_a_release_takes_the_place_of_the_held_message(connection: Connection) -> None:
    message = await hold(connection)
    assert await release(connection, message) == Moved.MOVED
    assert await subjects(connection) == {"normal.q.a": 1}
    assert await release(connection, message) == Moved.ALREADY
    assert await subjects(connection) == {"normal.q.a": 1}


async def test_of_many_releases_exactly_one_moves(connection: Connection) -> None:
    message = await hold(connection)
    outcomes = await asyncio.gather(*(release(connection, message) for _ in range(50)))
    assert sorted(outcomes, reverse=True) == [Moved.MOVED, *[Moved.ALREADY] * 49]
    assert await subjects(connection) == {"normal.q.a": 1}


async def test_a_release_races_with_the_schedule_itself_and_the_job_is_there_once(connection: Connection) -> None:
    messages = [await hold(connection, f"j{n}", time.time() + 0.3) for n in range(30)]

    async def race(message: Message) -> Moved:
        while (outcome := await release(connection, message)) is not Moved.ALREADY:
            pass
        return outcome

    await asyncio.gather(*(race(message) for message in messages))

    async def all_ready() -> None:
        assert await subjects(connection) == {f"normal.q.j{n}": 1 for n in range(30)}

    await eventually(all_ready)


async def test_what_is_gone_or_elsewhere_is_said_to_be(connection: Connection) -> None:
    message = await hold(connection)
    dead = connection.names.dead("q", "a")
    assert await move(connection, message, dead, ttl=3600) == Moved.MOVED
    assert await subjects(connection) == {"dead.q.a": 1}
    assert await release(connection, message) == Moved.CHANGED
    now_dead = await found(connection)
    assert await remove(connection, now_dead)
    assert not await remove(connection, now_dead)
    assert await release(connection, message) == Moved.GONE


async def test_a_dead_job_comes_back_with_another_body(connection: Connection) -> None:
    message = await hold(connection, level="low")
    assert await move(connection, message, connection.names.dead("q", "a")) == Moved.MOVED
    assert await release(connection, await found(connection), body=b"fresh") == Moved.MOVED
    back = await found(connection)
    assert (state_of_subject(back.subject)[0], back.data) == ("low", b"fresh")


async def test_rescheduling_replaces_the_time_and_leaves_one_message(connection: Connection) -> None:
    message = await hold(connection, due=time.time() + 3600)
    later = time.time() + 7200
    assert await reschedule(connection, message, later) == Moved.MOVED
    assert due_of(await found(connection)) == pytest.approx(later, abs=0.001)
    assert await subjects(connection) == {"held.q.a": 1}
    assert await reschedule(connection, message, later) == Moved.CHANGED

    assert await reschedule(connection, await found(connection), time.time() + 0.2) == Moved.MOVED

    async def fired() -> None:
        assert await subjects(connection) == {"normal.q.a": 1}

    await eventually(fired)


async def test_a_time_that_has_passed_makes_the_job_ready(connection: Connection) -> None:
    message = await hold(connection, due=time.time() + 3600)
    assert await reschedule(connection, message, time.time() - 1) == Moved.MOVED
    assert await subjects(connection) == {"normal.q.a": 1}


async def test_a_deleted_held_job_does_not_fire(connection: Connection) -> None:
    message = await hold(connection, due=time.time() + 0.3)
    assert await remove(connection, message)
    after = await hold(connection, "b", time.time() + 0.6)
    assert after.sequence > message.sequence

    async def second_fired() -> None:
        assert await subjects(connection) == {"normal.q.b": 1}

    await eventually(second_fired)


async def test_an_answer_that_was_lost_makes_no_second_move(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    message = await hold(connection)
    lost = lose_one_answer(connection, monkeypatch)
    assert await release(connection, message) == Moved.MOVED
    assert lost
    assert await subjects(connection) == {"normal.q.a": 1}


async def test_a_ready_job_cannot_be_moved(connection: Connection) -> None:
    await release(connection, await hold(connection))
    with pytest.raises(ValueError, match="is not waiting"):
        await release(connection, await found(connection))
    with pytest.raises(ValueError, match="cannot be moved"):
        await move(connection, await found(connection), connection.names.dead("q", "a"))
    held = await hold(connection, "b")
    with pytest.raises(ValueError, match="cannot be moved"):
        await move(connection, held, connection.names.ready("q", "other"))


async def test_headers_are_read_back(connection: Connection) -> None:
    message = await hold(connection)
    stored = await read_last(connection, connection.names.jobs_stream, message.subject)
    assert stored is not None
    assert stored.headers["Nats-Schedule-Target"] == connection.names.ready("q", "a")
