"""The order in which schedules are due, as the watch feeds it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from naq_core.transport.watch import Change
from naq_scheduler._agenda import Agenda


def change(key: str, revision: int, due: float | None, **more: Any) -> Change:
    """Return a stored schedule that is due at that second of the epoch."""
    when = "" if due is None else f',"next_at":"{datetime.fromtimestamp(due, UTC).isoformat()}"'
    paused = ',"paused":true' if more.get("paused") else ""
    return Change(key, revision, f'{{"spec":{{"schedule_id":"{key}"}}{when}{paused}}}'.encode())


def test_the_earliest_is_taken_first_and_only_when_it_is_due() -> None:
    agenda = Agenda()
    for number, due in enumerate((30, 10, 20)):
        agenda.put(change(f"s{number}", number + 1, due))
    assert agenda.next_due() == 10
    assert agenda.take_due(9) is None
    taken = [entry.key for _ in range(3) if (entry := agenda.take_due(25)) is not None]
    assert taken == ["s1", "s2"]


def test_a_change_moves_a_schedule_and_a_deletion_removes_it() -> None:
    agenda = Agenda()
    agenda.put(change("a", 1, 10))
    agenda.put(change("a", 2, 50))
    assert agenda.next_due() == 50
    agenda.put(Change("a", 3, b""))
    assert agenda.next_due() is None
    assert len(agenda) == 0


def test_an_old_version_told_again_changes_nothing() -> None:
    agenda = Agenda()
    agenda.put(change("a", 5, 50))
    agenda.put(change("a", 4, 10))
    assert agenda.next_due() == 50


def test_what_is_paused_over_or_unreadable_is_never_due() -> None:
    agenda = Agenda()
    agenda.put(change("a", 1, 10, paused=True))
    agenda.put(change("b", 2, None))
    agenda.put(Change("c", 3, b"\x00garbage"))
    assert agenda.next_due() is None


def test_a_schedule_that_is_being_fired_is_not_taken_again() -> None:
    agenda = Agenda()
    agenda.put(change("a", 1, 10))
    entry = agenda.take_due(10)
    assert entry is not None
    agenda.put(change("a", 2, 11))
    assert agenda.take_due(99) is None
    agenda.done(entry)
    assert agenda.next_due() == 11


def test_the_version_written_by_a_firing_counts_before_the_watch_tells_it() -> None:
    agenda = Agenda()
    agenda.put(change("a", 1, 10))
    entry = agenda.take_due(10)
    assert entry is not None
    agenda.written(entry, 2, change("a", 2, 20).data)
    agenda.done(entry, not_before=15)
    assert agenda.next_due() == 20


def test_a_schedule_that_was_deleted_while_it_fired_is_gone() -> None:
    agenda = Agenda()
    agenda.put(change("a", 1, 10))
    entry = agenda.take_due(10)
    assert entry is not None
    agenda.put(Change("a", 2, b""))
    agenda.done(entry)
    assert agenda.next_due() is None


def test_waiting_wakes_only_for_what_is_due_first() -> None:
    agenda = Agenda()
    agenda.put(change("a", 1, 10))
    agenda.changed.clear()
    agenda.put(change("b", 2, 20))
    assert not agenda.changed.is_set()
    agenda.put(change("c", 3, 5))
    assert agenda.changed.is_set()
