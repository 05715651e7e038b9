"""Delivery options of a job: times, expiry, keys."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naq_core.delivery_options import NO_DELIVERY_OPTIONS, Clash, DeliveryOptions, unique_id
from naq_core.errors import InvalidOptionError
from naq_core.names import check_job_id
from naq_core.option_set import OptionSet


def delivery_of(**given: Any) -> DeliveryOptions:
    return OptionSet(given).delivery


SOON = datetime.now(UTC) + timedelta(hours=1)


def test_no_terms_are_the_shared_ones() -> None:
    assert delivery_of() is NO_DELIVERY_OPTIONS


def test_times_are_those_of_the_instant_whatever_the_zone() -> None:
    elsewhere = SOON.astimezone(timezone(timedelta(hours=-9)))
    assert delivery_of(at=SOON) == delivery_of(at=elsewhere)
    assert delivery_of(at=SOON).due(0.0) == pytest.approx(SOON.timestamp())


@pytest.mark.parametrize("delay", [90, 90.0, timedelta(minutes=1, seconds=30)])
def test_a_delay_counts_from_the_enqueue(delay: float) -> None:
    assert delivery_of(delay=delay).due(1000.0) == 1090.0
    assert delivery_of(expires=delay).expiry(1000.0) == 1090.0
    assert delivery_of(unique="k", debounce=delay).due(1000.0) == 1090.0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"at": datetime(2030, 1, 1)}, "at: 2030-01-01T00:00:00 has no time zone"),  # noqa: DTZ001 - the point
        ({"at": "2030-01-01"}, "at: '2030-01-01' is not a time: use an aware datetime"),
        ({"at": datetime(2199, 1, 1, tzinfo=UTC)}, "at: .* too far ahead"),
        ({"at": SOON, "delay": 1}, "at: .*cannot be combined with delay"),
        ({"delay": -1}, "delay: -1"),
        ({"delay": float("nan")}, "delay: nan"),
        ({"delay": True}, "delay: True"),
        ({"expires": 0}, "expires: must be longer than 0 seconds"),
        ({"expires": datetime(2030, 1, 1)}, "expires: .*no time zone"),  # noqa: DTZ001 - the point
        ({"expires": 60, "delay": 60}, "expires: .*before it is due"),
        ({"expires": SOON, "at": SOON}, "expires: .*before it is due"),
        ({"unique": ""}, "unique: ''"),
        ({"unique": 7}, "unique: 7"),
        ({"unique": "k" * 513}, "unique: "),
        ({"unique": "k", "job_id": "j"}, "unique: .*job_id"),
        ({"unique": "k", "on_clash": "ignore"}, "on_clash: 'ignore' is not one of refuse, return, replace"),
        ({"on_clash": "return"}, "on_clash: .*add unique"),
        ({"debounce": 5}, "debounce: .*add unique"),
        ({"unique": "k", "debounce": 0}, "debounce: must be longer than 0"),
        ({"unique": "k", "debounce": 5, "delay": 5}, "debounce: .*remove at, delay"),
        ({"unique": "k", "debounce": 5, "on_clash": "replace"}, "debounce: .*on_clash"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOptionError, match=named):
        delivery_of(**given)


def test_an_expiry_that_has_passed_is_accepted_and_ends_the_job_on_record() -> None:
    assert delivery_of(expires=datetime(2020, 1, 1, tzinfo=UTC)).expiry(2e9) < 2e9


def test_readable_keys_make_readable_ids() -> None:
    assert delivery_of(unique="welcome-7").job_id == "unique=welcome-7"
    assert delivery_of(unique="k", on_clash="replace").on_clash is Clash.REPLACE


@given(st.text(min_size=1, max_size=512), st.text(min_size=1, max_size=512))
def test_every_key_makes_a_valid_id_of_its_own(one: str, other: str) -> None:
    assert check_job_id(unique_id(one)) == unique_id(one)
    assert (one == other) == (unique_id(one) == unique_id(other))
