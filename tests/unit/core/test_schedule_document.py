"""The stored form of a schedule: how it begins, moves on and is changed, and what cannot be read; without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_core.errors import UnreadableError
from naq_core.job import Job
from naq_core.schedules.document import (
    LATE,
    ScheduleDocument,
    changed_document,
    decode_document,
    encode_document,
    new_document,
    view_of,
)
from naq_core.schedules.spec import make_spec
from naq_core.views import Firing

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TICK = timedelta(microseconds=1)


def schedule(**timing: Any) -> ScheduleDocument:
    """A schedule that was made at noon, each minute by default."""
    options: dict[str, Any] = {"schedule_id": "s", "interval": 60} | timing
    return new_document(make_spec(Job("shop:work"), **options), NOON, paused=False)


def changed(document: ScheduleDocument, **changes: Any) -> bytes:
    """A stored schedule with other fields, those of its specification among them."""
    found = json.loads(encode_document(document))
    for name, value in changes.items():
        (found["spec"] if name in {"start_at", "end_at"} else found)[name] = value
    return json.dumps(found).encode()


def test_a_new_schedule_is_due_at_its_first_time() -> None:
    document = schedule()
    assert (document.anchor, document.watermark, document.next_at) == (NOON, NOON, NOON + MINUTE)
    assert not document.paused
    assert schedule(end_at=NOON).next_at is None


@pytest.mark.parametrize(
    ("start", "first"),
    [
        (NOON, NOON),
        (NOON - MINUTE, NOON - MINUTE),
        (NOON - MINUTE - TICK, NOON + MINUTE - TICK),
        (NOON + TICK, NOON + TICK),
    ],
)
def test_a_start_within_the_last_minute_is_the_first_time(start: datetime, first: datetime) -> None:
    assert schedule(start_at=start).next_at == first
    assert schedule(start_at=NOON).watermark == NOON - TICK


def test_the_number_of_runs_bounds_what_is_to_come() -> None:
    document = schedule(max_runs=3)
    document.runs = 1
    assert list(document.times()) == [NOON + MINUTE, NOON + 2 * MINUTE]
    document.runs = 4
    assert list(document.times()) == []


def test_the_watermark_moves_on_and_never_back() -> None:
    document = schedule()
    document.move_on(NOON + 5 * MINUTE)
    assert (document.watermark, document.next_at) == (NOON + 5 * MINUTE, NOON + 6 * MINUTE)
    document.move_on(NOON)
    assert (document.watermark, document.next_at) == (NOON + 5 * MINUTE, NOON + 6 * MINUTE)


def test_twenty_firings_are_remembered_the_newest_last() -> None:
    document = schedule()
    for number in range(25):
        document.remember(Firing(at=NOON + number * MINUTE))
    assert [each.at for each in document.firings] == [NOON + number * MINUTE for number in range(5, 25)]


def test_a_watermark_is_ahead_if_it_is_more_than_a_minute_in_the_future() -> None:
    document = schedule()
    document.move_on(NOON + MINUTE)
    assert not document.is_ahead(NOON)
    assert document.is_ahead(NOON - TICK)


def test_a_schedule_that_a_wrong_clock_has_put_ahead_begins_again() -> None:
    document = schedule()
    document.rewind(NOON)
    assert (document.watermark, document.anchor) == (NOON, NOON), "it was not ahead"
    document.move_on(NOON + 100 * MINUTE)
    document.rewind(NOON + 5 * MINUTE)
    assert (document.watermark, document.anchor) == (NOON + 5 * MINUTE, NOON)
    document.rewind(NOON - 5 * MINUTE)
    assert (document.watermark, document.anchor) == (NOON - 5 * MINUTE, NOON - 5 * MINUTE)


def test_another_time_begins_now_and_any_other_change_keeps_the_sequence() -> None:
    old = schedule()
    old.runs, old.firings = 7, [Firing(at=NOON)]
    later = NOON + timedelta(seconds=90)
    calmer = changed_document(old, make_spec(Job("shop:other"), schedule_id="s", interval=60), later)
    assert (calmer.anchor, calmer.watermark, calmer.next_at) == (NOON, NOON, NOON + MINUTE)
    faster = changed_document(old, make_spec(Job("shop:work"), schedule_id="s", interval=10), later)
    assert (faster.anchor, faster.watermark, faster.next_at) == (later, later, later + timedelta(seconds=10))
    assert (faster.runs, faster.firings) == (7, [Firing(at=NOON)])
    ahead = schedule()
    ahead.move_on(NOON + 100 * MINUTE)
    assert changed_document(ahead, ahead.spec, later).next_at == NOON + 2 * MINUTE
    over = changed_document(old, make_spec(Job("shop:work"), schedule_id="s", interval=60, end_at=NOON), later)
    assert over.next_at is None


def test_a_document_is_read_as_it_was_written_and_the_unwritten_is_the_default() -> None:
    document = schedule()
    stored = json.loads(encode_document(document))
    assert set(stored) == {"spec", "created_at", "anchor", "watermark", "next_at"}
    assert decode_document(encode_document(document), "s") == document
    assert decode_document(encode_document(document)) == document
    found = decode_document(changed(document, v=1))
    assert (found.paused, found.runs, found.missed, found.firings) == (False, 0, 0, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v": 2}, "version 2"),
        ({"watermark": "2026-05-01T12:00:00"}, "time with a zone"),
        ({"next_at": "1969-12-31T23:59:59Z"}, "time with a zone"),
        ({"last_at": "9999-01-01T00:00:00Z"}, "time with a zone"),
        ({"start_at": "1969-12-31T23:59:59Z"}, "time with a zone"),
        ({"end_at": "9999-01-01T00:00:00Z"}, "time with a zone"),
        ({"firings": [{"at": "9999-01-01T00:00:00Z"}]}, "time with a zone"),
        ({"spec": {"schedule_id": "s", "queue": "q", "template": "AAAA"}}, "either a cron expression or an interval"),
    ],
)
def test_what_could_not_be_fired_or_shown_cannot_be_read(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        decode_document(changed(schedule(), **changes))


def test_times_of_the_first_year_and_of_the_last_can_be_read() -> None:
    for at in ("1970-01-01T00:00:00Z", "9998-12-31T23:59:59Z"):
        assert decode_document(changed(schedule(), last_at=at)).last_at == datetime.fromisoformat(at)


def test_a_document_below_the_key_of_another_schedule_cannot_be_read() -> None:
    with pytest.raises(UnreadableError, match="it names schedule s"):
        decode_document(encode_document(schedule()), "other")


def test_a_paused_schedule_shows_no_next_time() -> None:
    document = schedule()
    assert view_of(document, NOON).next_at == NOON + MINUTE
    document.paused = True
    assert view_of(document, NOON).next_at is None


@pytest.mark.parametrize("jitter", [0.0, 30.0])
def test_a_schedule_is_late_when_its_time_has_passed_for_longer_than_a_firing_takes(jitter: float) -> None:
    document = schedule(jitter=jitter)
    due = NOON + MINUTE + document.spec.delay(NOON + MINUTE)
    assert view_of(document, due + LATE).late == 0.0
    assert view_of(document, due + LATE + MINUTE).late == (LATE + MINUTE).total_seconds()
    document.paused = True
    assert view_of(document, due + LATE + MINUTE).late == 0.0
    document.paused, document.next_at = False, None  # it has ended
    assert view_of(document, due + LATE + MINUTE).late == 0.0


def test_the_time_of_the_last_firing_is_that_of_its_enqueue() -> None:
    document = schedule()
    assert view_of(document, NOON).fired_at is None
    document.remember(Firing(at=NOON, job_id="s=1", late=2.5))
    document.remember(Firing(at=NOON + MINUTE, kind="skipped"))
    document.remember(Firing(at=NOON + 2 * MINUTE, kind="manual", job_id="s=2"))
    assert view_of(document, NOON).fired_at == NOON + timedelta(seconds=2.5)
    document.firings, document.last_at = [Firing(at=NOON, kind="manual")], NOON + MINUTE  # others have displaced it
    assert view_of(document, NOON).fired_at == NOON + MINUTE
    document.firings = [Firing(at=datetime(9998, 12, 31, tzinfo=UTC), late=1e9)]
    assert view_of(document, NOON).fired_at == NOON + MINUTE, "a time that no calendar has"
