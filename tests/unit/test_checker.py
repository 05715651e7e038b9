"""Every rule of the history checker catches the history that it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.checker import Limits, check
from tests.support.history import Event


def event(at: float, kind: str, **fields: Any) -> Event:
    """Make an event of job `a` unless another is named."""
    if kind not in {"fault", "drained", "gauge"}:
        fields.setdefault("job", "a")
    return Event(kind, at, fields)


def run(at: float, until: float | None, *, outcome: str = "ok", **fields: Any) -> list[Event]:
    """Make the start and, if `until` is given, the end of a run."""
    about = {"attempt": 1, "fence": 1, "worker": 10, **fields}
    events = [event(at, "start", **about)]
    if until is not None:
        events.append(event(until, "end", **about, outcome=outcome))
    return events


def enqueued(at: float = 0.0, job: str = "a") -> list[Event]:
    """Make an accepted enqueue."""
    return [event(at, "enq_invoke", job=job), event(at, "enq_ok", job=job)]


def ended(at: float, state: str = "succeeded", job: str = "a") -> list[Event]:
    """Make an end record, read a while after it was written."""
    return [event(at + 5, "terminal", job=job, state=state, ended_at=at)]


def fault(t0: float, t1: float, worker: int | None = None) -> list[Event]:
    """Make a fault window."""
    return [event(t1, "fault", name="kill", t0=t0, t1=t1, worker=worker)]


DRAINED = [event(20.0, "drained")]
GOOD = [*enqueued(), *run(1, 2), *ended(2), *DRAINED]
SECOND: dict[str, Any] = {"attempt": 2, "fence": 2, "worker": 11}


def rules(*events: Event, limits: Limits | None = None) -> set[str]:
    """Return the names of the rules that these events break."""
    return check(events, limits).rules()


def test_a_plain_history_breaks_no_rule() -> None:
    report = check(GOOD)
    assert report.rules() == set()
    assert (report.accepted, report.runs, report.extra_runs, report.lost) == (1, 1, 0, [])


def test_the_order_of_the_lines_does_not_matter() -> None:
    assert rules(*reversed(GOOD)) == set()


def test_c1_an_accepted_job_that_never_started_is_lost() -> None:
    report = check([*enqueued(), *DRAINED])
    assert report.rules() == {"C1"}
    assert report.lost == ["a"]


def test_c1_a_job_without_an_end_record_is_lost() -> None:
    assert check([*enqueued(), *run(1, 2), *DRAINED]).lost == ["a"]


def test_c1_two_end_records_are_one_too_many() -> None:
    assert rules(*GOOD, *ended(3, "dead")) == {"C1"}


@pytest.mark.parametrize("state", ["cancelled", "expired"])
def test_c1_a_cancelled_or_expired_job_need_not_run(state: str) -> None:
    assert rules(*enqueued(), *ended(2, state), *DRAINED) == set()


def test_c2_a_run_of_an_unknown_job_is_found() -> None:
    assert rules(*GOOD, *run(1, 2, job="ghost")) == {"C2"}


def test_c3_an_overlap_without_a_fault_is_found() -> None:
    again = run(1.5, 1.9, **SECOND)
    assert "C3" in rules(*GOOD, *again)


def test_c3_an_overlap_after_a_freeze_of_the_first_worker_is_explained() -> None:
    overlap = [*enqueued(), *run(1, 9), *run(5, 6, **SECOND), *ended(6), *DRAINED]
    assert rules(*overlap, *fault(2, 8, worker=10)) == set()
    assert rules(*overlap, *fault(2, 8)) == set()
    assert rules(*overlap, *fault(2, 8, worker=99)) == {"C3", "C4"}


def test_c3_a_killed_run_stays_open_and_the_kill_explains_the_next() -> None:
    killed = [*enqueued(), *run(1, None), *run(4, 5, **SECOND), *ended(5), *DRAINED]
    assert rules(*killed, *fault(2, 2, worker=10)) == set()
    assert "C3" in rules(*killed)


def test_c4_a_second_run_without_a_fault_is_found() -> None:
    report = check([*enqueued(), *run(1, 2), *run(2.5, 3, **SECOND), *ended(3), *DRAINED])
    assert report.rules() == {"C4"}
    assert (report.extra_runs, report.recovery) == (1, [1.5])


def test_c4_a_retry_after_an_error_is_not_an_extra_run() -> None:
    retried = [*run(1, 2, outcome="error"), *run(3, 4, **SECOND)]
    report = check([*enqueued(), *retried, *ended(4), *DRAINED])
    assert (report.rules(), report.extra_runs) == (set(), 0)


def test_c4_a_fault_between_the_return_and_the_stored_end_explains_a_second_run() -> None:
    twice = [*enqueued(), *run(1, 2), *run(5, 6, **SECOND), *ended(6), *DRAINED]
    assert rules(*twice, *fault(2.2, 2.2, worker=10)) == set()
    assert rules(*twice, *fault(4.5, 4.5, worker=10)) == {"C4"}


def test_c5_a_start_after_the_end_is_found_even_during_a_fault() -> None:
    late = run(9, 10, **SECOND)
    assert rules(*GOOD, *late, *fault(1, 15)) == {"C5"}


def test_c6_a_fence_used_twice_is_found() -> None:
    twice = run(3, 4, attempt=2, fence=1, worker=11)
    assert "C6" in rules(*enqueued(), *run(1, None), *twice, *ended(4), *DRAINED, *fault(2, 2))


def test_c6_a_shrinking_fence_is_found() -> None:
    shrunk = [*run(1, None, fence=7), *run(3, 4, attempt=2, fence=6, worker=11)]
    assert rules(*enqueued(), *shrunk, *ended(4), *DRAINED, *fault(2, 2)) == {"C6"}


def test_c6_an_effect_applied_twice_is_found() -> None:
    once = event(1.5, "effect", fence=1, applied=True)
    refused = event(1.6, "effect", fence=2, applied=False)
    twice = event(1.7, "effect", fence=3, applied=True)
    assert rules(*GOOD, once, refused) == set()
    assert rules(*GOOD, once, refused, twice) == {"C6"}


def test_c7_an_unknown_enqueue_may_have_made_no_job_or_one() -> None:
    unknown = [event(0, "enq_invoke"), event(5, "enq_unknown")]
    assert rules(*unknown) == set()
    assert rules(*unknown, *run(1, 2), *ended(2)) == set()
    assert rules(*unknown, *run(1, 2), *ended(2), *ended(3)) == {"C7"}
    assert rules(*unknown, *run(1, 2)) == {"C7"}


def test_c9_a_queue_that_never_drains_is_found() -> None:
    assert rules(*enqueued(), *run(1, 2), *ended(2)) == {"C9"}


def test_c9_the_clock_runs_from_the_last_fault() -> None:
    limits = Limits(drain=5)
    assert rules(*GOOD, limits=limits) == {"C9"}
    assert rules(*GOOD, *fault(11, 12), limits=limits) == set()


def test_c10_a_gauge_above_its_base_line_is_found() -> None:
    before = event(0, "gauge", values={"consumers": 2, "ack_pending": 0})
    during = event(5, "gauge", values={"consumers": 9, "ack_pending": 4})
    leaked = event(9, "gauge", values={"consumers": 3, "ack_pending": 0})
    assert rules(*GOOD, before, during, before) == {"C10"}
    assert rules(*GOOD, before, leaked) == {"C10"}


def test_the_report_names_what_was_broken() -> None:
    text = str(check([*enqueued(), *DRAINED]))
    assert "lost=1" in text
    assert "C1 a: accepted and never started" in text


def test_each_time_of_a_schedule_makes_one_job() -> None:
    due = [event(0, "due", job="a"), event(0, "due", job="b")]
    once = [*run(1, 2), *run(1, 2, job="b")]
    assert rules(*due, *once) == set()
    assert rules(*due, *run(1, 2)) == {"C8"}
    assert "C8" in rules(*due, *once, *run(3, 4))
    assert rules(*due, *once, *run(5, 6, attempt=2, fence=2), *fault(4, 6), *DRAINED) == set()
    assert rules(*once, due[0]) == {"C2"}
