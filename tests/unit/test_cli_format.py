"""How the command line writes values and fits tables."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naq_cli._calls import read_arguments
from naq_cli._format import for_people, for_programs, iso, printable, relative
from naq_cli._jobs import ending
from naq_cli._layout import GAP, Wish, fit
from naq_core.record import AttemptError, JobState
from naq_core.settings import parse_duration
from naq_core.views import JobView
from naq_core.wording import exact_span, size, span
from naq_core.written_calls import read_json_arguments

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0.0002, "<1ms"),
        (0.34, "340ms"),
        (2, "2s"),
        (9.44, "9.4s"),
        (59.6, "1m"),
        (125, "2m"),
        (3600, "1h"),
        (7500, "2h 5m"),
        (273600, "3d 4h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.5, "0.5s"), (90, "90s"), (3600.0, "1h"), (5400, "90m"), (7 * 86_400, "7d")]
)
def test_durations_for_settings_are_exact(seconds: float, text: str) -> None:
    assert exact_span(seconds) == text
    assert parse_duration(text).total_seconds() == seconds


def test_times_are_relative_for_people_and_exact_for_programs() -> None:
    assert relative(NOW - timedelta(minutes=5), NOW) == "5m ago"
    assert relative(NOW + timedelta(hours=2), NOW) == "in 2h"
    assert relative(NOW, NOW) == "just now"
    assert for_programs(NOW) == iso(NOW) == "2026-11-24T12:00:00.000Z"


def test_sizes_are_short() -> None:
    assert [size(count) for count in (512, 1536, 20 * 1024**2, 3e13)] == ["512 B", "1.5 KiB", "20 MiB", "27.3 TiB"]


def test_cells_of_a_pipe_hold_neither_tabs_nor_line_ends() -> None:
    assert for_programs("a\tb\nc") == "a b c"
    assert for_programs(None) == ""
    assert for_programs(JobState.DEAD) == "dead"
    assert for_people(["a", "b"]) == "a, b"
    many = [f"q{number}" for number in range(10_000)]
    assert for_people(many) == "q0, q1, q2, q3, q4, q5, q6, q7, q8, q9 and 9,990 more"
    assert for_programs(many).count("q") == 10_000
    assert for_people(1234567) == "1,234,567"


@given(st.text())
def test_nothing_printed_can_drive_a_terminal(text: str) -> None:
    assert all(each.isprintable() or each in "\n\t" for each in printable(text))


wishes = st.lists(
    st.builds(Wish, natural=st.integers(1, 60), can_shrink=st.booleans(), rank=st.integers(0, 5)), min_size=1, max_size=8
)


@given(wishes, st.integers(5, 200))
def test_a_table_never_gets_wider_than_the_terminal(columns: list[Wish], available: int) -> None:
    widths = fit(columns, available)
    assert 0 in widths
    assert sum(widths.values()) + GAP * (len(widths) - 1) <= available
    assert all(1 <= width <= columns[at].natural for at, width in widths.items())


def test_where_there_is_room_everything_is_shown_whole() -> None:
    columns = [Wish(28, can_shrink=False, rank=0), Wish(30, can_shrink=True, rank=1), Wish(8, can_shrink=False, rank=2)]
    assert fit(columns, 80) == {0: 28, 1: 30, 2: 8}
    assert fit(columns, 60) == {0: 28, 1: 18, 2: 8}
    assert fit(columns, 50) == {0: 28, 1: 19}
    assert fit(columns, 20) == {0: 20}


def test_words_are_json_where_they_are_json() -> None:
    words = ["2", "true", "null", "[1, 2]", '"2"', "two", "http://x/?a=b", "key=3", "note=a=b", "empty="]
    assert read_arguments(words) == (
        [2, True, None, [1, 2], "2", "two", "http://x/?a=b"],
        {"key": 3, "note": "a=b", "empty": ""},
    )


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("[1, 2]", ([1, 2], {})),
        ('{"a": 1}', ([], {"a": 1})),
        ('[[1], {"a": 2}]', ([1], {"a": 2})),
        ("[[1], [2]]", ([[1], [2]], {})),
    ],
)
def test_all_arguments_may_be_one_json_document(text: str, call: object) -> None:
    assert read_json_arguments(text.encode()) == call


@pytest.mark.parametrize(("attempt", "when"), [(0, "before its first attempt"), (2, "at attempt 2/3")])
def test_the_end_of_a_dead_job_says_when_it_failed(attempt: int, when: str) -> None:
    errors = [AttemptError(type="ValueError", message="no")]
    job = JobView(job_id="1", queue="mail", state=JobState.DEAD, attempt=attempt, max_attempts=3, errors=errors)
    assert ending(job) == f"job 1 failed {when} with ValueError: no."
