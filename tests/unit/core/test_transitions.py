"""The states of a job change by the table of moves, in one module."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from naq_core import transitions
from naq_core.envelope import Envelope
from naq_core.errors import TransitionError
from naq_core.record import FINAL, AttemptError, JobRecord, JobState, Progress
from naq_core.transitions import MOVES, TRANSITIONS
from tests.support import state_diagram

PACKAGES = Path(__file__).parents[3] / "packages"
ERROR = AttemptError("ValueError", "no")
ENVELOPE = Envelope(v=1, id="j", fn="m:f", ct="json", body=b"", at=1.0, run="r", args="1", workflow="w", schedule="s")
QUEUED, HELD, RUNNING, RETRYING = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.RETRYING
SUCCEEDED, DEAD, CANCELLED, EXPIRED = JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED


def a_claim() -> JobRecord:
    return transitions.claimed(ENVELOPE, "q", "w", 2.0, 7)


MAKERS: dict[str, tuple[JobState, set[JobState], Callable[[JobRecord], JobRecord | None]]] = {
    "claimed_again": (RUNNING, {QUEUED, HELD, RETRYING}, lambda record: transitions.claimed_again(record, a_claim(), 3.0)),
    "run_again": (RUNNING, {RUNNING}, lambda record: transitions.run_again(record, a_claim(), 3.0, ERROR)),
    "succeeded": (SUCCEEDED, {RUNNING}, lambda record: transitions.succeeded(record, 3.0)),
    "not_stored": (RUNNING, {SUCCEEDED}, transitions.not_stored),
    "retrying": (RETRYING, {RUNNING}, lambda record: transitions.retrying(record, 3.0)),
    "worker_lost": (RETRYING, {RUNNING}, lambda record: transitions.worker_lost(record, ERROR)),
    "put_off": (RETRYING, {QUEUED, RETRYING}, lambda record: transitions.put_off(record, 3.0)),
    "handed_back": (QUEUED, {RUNNING}, lambda record: transitions.handed_back(record, "stop")),
    "dead": (DEAD, {QUEUED, RUNNING}, lambda record: transitions.dead(record, 3.0)),
    "cancelled": (CANCELLED, {QUEUED, HELD, RUNNING, RETRYING}, lambda record: transitions.cancelled(record, 3.0, "why")),
    "expired": (EXPIRED, {QUEUED, HELD, RUNNING, RETRYING}, lambda record: transitions.expired(record, 3.0)),
    "put_back": (QUEUED, {DEAD, CANCELLED}, lambda record: transitions.put_back(record, "by hand")),
}
"""Of each move: the state it leads to, those it may begin in, and how it is made."""
IN_MEMORY = {("not_stored", SUCCEEDED), ("claimed_again", HELD)}
"""What no stored record shows: a success that the server refused, and the server's own step from HELD to QUEUED."""


@pytest.mark.parametrize("before", JobState)
@pytest.mark.parametrize("name", MAKERS)
def test_a_move_begins_in_its_states_and_is_refused_in_all_others(name: str, before: JobState) -> None:
    after, allowed, make = MAKERS[name]
    record = JobRecord(before, "j", "q", attempt=3)
    if before in allowed:
        made = make(record) or record
        assert made.state is after
        assert (before, after) in MOVES or (name, before) in IN_MEMORY
    else:
        with pytest.raises(TransitionError, match=f"job j: is {before}; .* cannot become {after}"):
            make(record)
        assert record.state is before


def test_the_functions_make_every_move_that_a_record_shows() -> None:
    made = {(before, after) for after, allowed, _ in MAKERS.values() for before in allowed}
    by_the_server = {(HELD, QUEUED), (QUEUED, HELD)}
    by_claim = {(QUEUED, RUNNING)}
    without_a_claim = {(QUEUED, SUCCEEDED)}  # RUNNING in memory alone
    assert set(MOVES) - made - by_the_server - by_claim - without_a_claim == set()


def test_only_a_hand_leads_on_from_an_end() -> None:
    assert {state: TRANSITIONS[state] for state in FINAL} == {
        SUCCEEDED: frozenset(),
        DEAD: {QUEUED},
        CANCELLED: {QUEUED},
        EXPIRED: frozenset(),
    }


def test_the_page_of_the_states_shows_the_table() -> None:
    page = state_diagram.PAGE.read_text(encoding="utf-8")
    assert page == state_diagram.renewed(page), "stale: run python -m tests.support.state_diagram"


def test_a_first_claim_is_made_from_the_job() -> None:
    assert a_claim() == JobRecord(
        RUNNING,
        "j",
        "q",
        function="m:f",
        run="r",
        attempt=1,
        worker="w",
        enqueued_at=1.0,
        started_at=2.0,
        arguments="1",
        workflow="w",
        schedule="s",
        sequence=7,
    )


def test_only_an_id_with_several_runs_has_the_sequence_of_its_message_on_record() -> None:
    assert transitions.claimed(msgspec.structs.replace(ENVELOPE, run=""), "q", "w", 2.0, 7).sequence == 0


def test_another_claim_keeps_the_history() -> None:
    old = JobRecord(RETRYING, "j", "q", attempt=2, crashes=3, excused=1, suspect=True, errors=[ERROR], worker="old", next_at=1.0)
    claim = transitions.claimed_again(old, a_claim(), 5.0)
    kept = (claim.attempt, claim.crashes, claim.excused, claim.suspect, claim.errors, claim.worker, claim.started_at)
    assert kept == (3, 3, 1, True, [ERROR], "w", 5.0)
    assert claim.next_at == 0.0


@pytest.mark.parametrize(
    ("state", "attempt", "next_attempt"), [(QUEUED, 0, 1), (QUEUED, 2, 2), (HELD, 0, 1), (RETRYING, 0, 1), (RETRYING, 2, 3)]
)
def test_a_retry_begins_the_next_attempt_and_what_was_handed_back_repeats_its_own(
    state: JobState, attempt: int, next_attempt: int
) -> None:
    assert transitions.claimed_again(JobRecord(state, "j", "q", attempt=attempt), a_claim(), 1.0).attempt == next_attempt


def test_being_put_off_uses_up_no_attempt() -> None:
    for state, attempt in ((QUEUED, 2), (RETRYING, 1)):
        record = JobRecord(state, "j", "q", attempt=attempt)
        transitions.put_off(record, 9.0)
        assert record.next_at == 9.0
        assert transitions.claimed_again(record, a_claim(), 9.0).attempt == 2


def test_an_attempt_whose_end_was_not_stored_is_made_again() -> None:
    claim = transitions.run_again(JobRecord(RUNNING, "j", "q", attempt=2), a_claim(), 4.0, ERROR)
    assert (claim.attempt, claim.errors, claim.started_at) == (2, [ERROR], 4.0)


def test_a_claim_that_comes_too_late_is_no_attempt() -> None:
    claim = a_claim()
    transitions.expired(claim, 9.0)
    assert (claim.attempt, claim.worker, claim.started_at, claim.ended_at) == (0, "", 0.0, 9.0)
    retry = JobRecord(RETRYING, "j", "q", attempt=2, worker="w", next_at=5.0)
    transitions.expired(retry, 9.0)
    assert (retry.attempt, retry.worker, retry.next_at) == (2, "w", 0.0)


def test_an_end_says_when_and_why() -> None:
    record = JobRecord(RETRYING, "j", "q", next_at=5.0)
    transitions.cancelled(record, 9.0, "why")
    assert (record.ended_at, record.next_at, record.reason) == (9.0, 0.0, "why")
    record = a_claim()
    transitions.dead(record, 9.0)
    assert record.ended_at == 9.0
    record = a_claim()
    transitions.succeeded(record, 9.0)
    assert record.ended_at == 9.0
    transitions.not_stored(record)
    assert record == a_claim()


def test_a_lost_worker_leaves_a_retry_that_is_due() -> None:
    record = JobRecord(RUNNING, "j", "q", worker="w", progress=Progress(1), next_at=5.0)
    transitions.worker_lost(record, ERROR)
    assert (record.worker, record.progress, record.next_at, record.errors) == ("", None, 0.0, [ERROR])


def test_what_is_handed_back_does_not_run_alone() -> None:
    record = JobRecord(RUNNING, "j", "q", alone=True)
    transitions.handed_back(record, "lease lost")
    assert (record.alone, record.reason) == (False, "lease lost")


def test_what_is_put_back_is_as_new_but_for_its_errors() -> None:
    facts = {"function": "m:f", "run": "r", "errors": [ERROR], "sequence": 7}
    record = JobRecord(
        DEAD,
        "j",
        "q",
        attempt=3,
        crashes=2,
        excused=1,
        superseded=5,
        suspect=True,
        alone=True,
        started_at=1.0,
        ended_at=2.0,
        next_at=3.0,
        worker="w",
        progress=Progress(1),
        reason="failed",
        **facts,  # type: ignore[arg-type]
    )
    transitions.put_back(record, "by hand")
    assert record == JobRecord(QUEUED, "j", "q", attempt=0, reason="by hand", **facts)  # type: ignore[arg-type]


def test_a_job_begins_queued_or_held_without_an_attempt() -> None:
    assert transitions.unclaimed("j", "q", "m:f") == JobRecord(QUEUED, "j", "q", function="m:f", attempt=0)
    record = transitions.unclaimed(
        "j", "q", "m:f", is_held=True, run="r", enqueued_at=1.0, arguments="1", workflow="w", schedule="s", sequence=7
    )
    assert record == JobRecord(
        HELD,
        "j",
        "q",
        function="m:f",
        run="r",
        attempt=0,
        enqueued_at=1.0,
        arguments="1",
        workflow="w",
        schedule="s",
        sequence=7,
    )


def test_a_long_history_keeps_the_first_error_and_the_newest() -> None:
    record = a_claim()
    for attempt in range(1, 31):
        transitions.note_error(record, AttemptError("E", "", "trace", attempt=attempt))
        assert [error.attempt for error in record.errors] == [1, *range(max(2, attempt - 18), attempt + 1)]
    assert [error.attempt for error in record.errors if error.traceback] == [28, 29, 30]


VIEWS = {"self", "event", "view", "item", "firing"}
"""What has a state of its own, and is no record."""


def changed(node: ast.AST) -> str | None:
    """Return how a node assigns a state or makes a record, None if it does neither."""
    match node:
        case ast.Attribute(attr="state", ctx=ast.Store(), value=value):
            return None if ast.unparse(value) in VIEWS else "assigned"
        case ast.Call(func=func, args=args, keywords=keywords):
            name = ast.unparse(func).rpartition(".")[2]
            first = ast.unparse(args[0]) if args else ""
            if name in {"JobRecord", "UnreadableRecord"}:
                return "a record is made"
            if name == "replace" and first not in VIEWS and any(keyword.arg == "state" for keyword in keywords):
                return "a copy with another state"
            return "setattr" if name in {"setattr", "force_setattr"} and ast.unparse(args[1]) == "'state'" else None
        case ast.Dict(keys=keys, values=values):
            pairs = {ast.unparse(key): ast.unparse(value) for key, value in zip(keys, values, strict=True) if key is not None}
            return "a dictionary of changes" if pairs.get("'state'", "").startswith("JobState.") else None
        case _:
            return None


def assignments(code: str) -> Iterator[str]:
    """Yield where a state is assigned, or a record is made with one."""
    for node in ast.walk(ast.parse(code)):
        if what := changed(node):
            yield f"{getattr(node, 'lineno', 0)}: {what}"


def test_nothing_else_assigns_the_state_of_a_record() -> None:
    found = {
        f"{path.name}:{found}"
        for path in PACKAGES.rglob("src/**/*.py")
        if path.name != "transitions.py"
        for found in assignments(path.read_text(encoding="utf-8"))
    }
    stand_in = {each for each in found if each.startswith("record.py:") and each.endswith("a record is made")}
    assert len(stand_in) == 1, "an UnreadableRecord stands for a record that cannot be read"
    assert found - stand_in == set()


@pytest.mark.parametrize(
    "code",
    [
        "record.state = JobState.DEAD",
        "claim.record.state, x = JobState.DEAD, 1",
        "JobRecord(state=JobState.DEAD)",
        "record_module.JobRecord(JobState.DEAD)",
        "msgspec.structs.replace(old, state=JobState.DEAD)",
        "setattr(record, 'state', JobState.DEAD)",
        "changes = {'state': JobState.DEAD}",
    ],
)
def test_the_check_sees_each_way_to_assign_a_state(code: str) -> None:
    assert list(assignments(code))
