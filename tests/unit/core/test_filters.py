"""The words of job filters."""

from datetime import UTC, datetime, timedelta

import pytest

from naq_core.errors import ConfigurationError
from naq_core.filters import describe_filter, parse_filter, parse_instant
from naq_core.record import JobState
from naq_core.views import JobFilter

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_words_with_fields_and_words_without() -> None:
    found = parse_filter("state:dead,cancelled queue:emails task:shop.send error:TimeoutError alice 'in wonderland'", now=NOW)
    assert found == JobFilter(
        states=frozenset({JobState.DEAD, JobState.CANCELLED}),
        queue="emails",
        function="shop.send",
        error="TimeoutError",
        text="alice in wonderland",
    )


def test_nothing_matches_everything() -> None:
    assert parse_filter("") == JobFilter()
    assert parse_filter([]) == JobFilter()


def test_a_colon_after_something_that_is_no_name_is_text() -> None:
    assert parse_filter(["a.b:c", ":x"]).text == "a.b:c :x"


@pytest.mark.parametrize(
    ("name", "state"), [("failed", JobState.DEAD), ("Scheduled", JobState.HELD), ("running", JobState.RUNNING)]
)
def test_states_have_the_names_people_use(name: str, state: JobState) -> None:
    assert parse_filter(f"state:{name}").states == {state}


def test_durations_count_back_and_times_without_a_zone_are_utc() -> None:
    found = parse_filter("since:2h until:2026-11-24T11:30", now=NOW)
    assert found.since == NOW - timedelta(hours=2)
    assert found.until == datetime(2026, 11, 24, 11, 30, tzinfo=UTC)
    assert parse_instant("5m", now=NOW, ahead=True) == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stat:dead", "did you mean state"),
        ("state:ded", "did you mean dead"),
        ("since:soon", "'soon' is neither a duration"),
        ("since:99999999999999d", "is neither a duration"),
        ("'open", "No closing quotation"),
    ],
)
def test_what_cannot_be_meant_is_named(words: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_filter(words, now=NOW)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "state:cancelled,dead queue:mail function:shop.send worker:w1 workflow:f schedule:s error:TimeoutError",
        "since:2h until:2026-11-24T11:30 'function:a b' alice in \"wonder'land\"",
        "id:state:dead",
    ],
)
def test_a_filter_is_described_in_the_words_it_is_made_of(words: str) -> None:
    found = parse_filter(words, now=NOW)
    assert parse_filter(describe_filter(found)) == found
