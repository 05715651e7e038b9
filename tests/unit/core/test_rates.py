"""The tokens of a rate, with clocks that are only known to lie between two bounds."""

import math
import random

import pytest

from naq_core import InvalidOptionError, QueuePolicy
from naq_core.rates import Bucket, Rate, make_rate, per_second
from naq_core.storage.keys import KeyPlaces, token_of_key
from naq_core.storage.room import KeyRule, KeyRules, Room
from naq_core.storage.subjects import ALL


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", 10), ("90 / min", 1.5), ("7200/hour", 2), ("1/d", 1 / 86400), ("0.5/s", 0.5), ("10000/S", 10_000)]
)
def test_a_rate_is_a_number_and_a_unit(text: str, rate: float) -> None:
    assert per_second(text, "rate") == pytest.approx(rate)


@pytest.mark.parametrize("wrong", ["", "10", "/s", "10/week", "-1/s", "0/s", "0.5/d", "10001/s", "1e3/s", 7, None, "10/s/s"])
def test_anything_else_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidOptionError, match="rate"):
        per_second(wrong, "rate")


@pytest.mark.parametrize(("text", "burst"), [("1/h", 1), ("1/s", 1), ("2/s", 2), ("10/s", 2), ("100/s", 11), ("1000/s", 101)])
def test_the_default_burst_makes_up_for_late_starts(text: str, burst: int) -> None:
    rate = make_rate(text, None)
    assert rate is not None
    assert rate.burst == burst


def test_a_policy_checks_its_rates_and_weights() -> None:
    assert QueuePolicy(rate="10/s", burst=5).rates == (Rate(10, 5), None)
    assert QueuePolicy(key_rate="1/min").rates == (None, Rate(1 / 60, 1))
    for wrong in ({"rate": "fast"}, {"burst": 3}, {"key_burst": 3}, {"rate": "1/s", "burst": 0}, {"key_rate": 5}):
        with pytest.raises(InvalidOptionError, match="|".join(wrong)):
            QueuePolicy(**wrong)
    for weights in ({"a": 0}, {"": 2}, {"a": 101}, ["a"]):
        with pytest.raises(InvalidOptionError, match="weights"):
            QueuePolicy(weights=weights)  # type: ignore[arg-type]


def test_rules_of_keys() -> None:
    rules = KeyRules(QueuePolicy(rate="5/s", key_limit=2, key_rate="1/s", weights={"vip": 3, "ä": 2}))
    assert rules.of("any") == KeyRule(2, Rate(1, 1))
    assert rules.of("vip") == KeyRule(6, Rate(1, 1))
    assert rules.of(token_of_key("ä")).limit == 4
    assert rules.of(ALL) == KeyRule(None, Rate(5, 2))


@pytest.mark.parametrize("seed", range(8))
def test_no_window_has_more_starts_than_the_rate_allows(seed: int) -> None:
    """Whatever the bounds are, as long as they are true, and however many jobs wait to start that were promised a token."""
    rng = random.Random(seed)
    rate = Rate(rng.choice([0.3, 2.0, 50.0]), rng.choice([1, 2, 7]))
    now, full_at, promised, starts = 1.8e9, 0.0, set[str](), list[float]()
    for number in range(600):
        now += rng.expovariate(1.5 * rate.per_second)
        if rng.random() < 0.02:
            now += 3 * rate.burst * rate.interval
        bucket = Bucket(rate, full_at, promised, now - rng.uniform(0, 0.3), now + rng.uniform(0, 0.3))
        if rng.random() < 0.5 and bucket.free:
            bucket.promised.add(f"job-{number}")
        job = rng.choice([*sorted(bucket.promised), "not-promised"])
        if bucket.take(job):
            starts.append(now)
        full_at, promised = bucket.full_at, set(bucket.promised)
        assert len(promised) <= rate.burst
    assert len(starts) > 20
    for first, begin in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= rate.burst + (starts[last] - begin) * rate.per_second + 0.01


def test_the_time_of_the_next_token_is_the_first_at_which_there_is_one() -> None:
    rate = Rate(4.0, 2)
    bucket = Bucket(rate, 0.0, (), 100.0, 100.0)
    assert (bucket.free, bucket.next_at) == (2, 0.0)
    assert [bucket.take("a"), bucket.take("b"), bucket.take("c")] == [True, True, False]
    assert (bucket.full_at, bucket.next_at) == (100.5, 100.25)
    assert Bucket(rate, bucket.full_at, (), 100.25, 100.25).free == 1
    assert Bucket(rate, bucket.full_at, ("a",), 100.25, 100.25).next_at == 100.5
    assert Bucket(rate, bucket.full_at, ("a", "b"), 200.0, 200.0).next_at == math.inf


def test_a_clock_that_was_set_back_empties_the_bucket_and_no_more() -> None:
    bucket = Bucket(Rate(2.0, 4), 9_000.0, (), 100.0, 100.0)
    assert (bucket.free, bucket.full_at, bucket.next_at) == (0, 102.0, 100.5)


def test_a_list_says_for_when_its_bell_is_and_keeps_one_that_is_near_enough() -> None:
    rule = KeyRule(3, Rate(10.0, 1))
    room = Room(KeyPlaces({}), rule, {}, 100.0, 100.0)
    room.admit("a", "run")
    assert (room.next_at, room.has_to_ring, room.stored(has_levels=False).bell_at) == (math.inf, False, math.inf)
    stored = room.stored(has_levels=False)
    room = Room(stored, rule, {"a": "run"}, 100.0, 100.0)
    assert room.begin("a", "run") == 0.0
    stored = room.stored(has_levels=True)
    assert (room.has_to_ring, stored.full_at, stored.promised) == (True, 100.1, ())
    assert stored.bell_at == pytest.approx(100.5)
    assert stored.is_full
    assert room.is_changed(stored, is_absent=False)
    same = Room(stored, rule, stored.taken, 100.05, 100.05)
    assert not same.is_changed(same.stored(has_levels=True), is_absent=False)
    assert same.begin("a", "run") == pytest.approx(0.05)  # its retry
    later = Room(stored, rule, stored.taken, 100.2, 100.2)
    assert (later.free, later.stored(has_levels=True).bell_at) == (1, 0.0)
    missed = Room(stored, rule, stored.taken, 90.0, 101.0)  # the clock is not known well
    assert missed.has_to_ring


def test_without_a_limit_only_those_have_a_place_that_were_promised_a_token() -> None:
    rule = KeyRule(None, Rate(10.0, 2))
    room = Room(KeyPlaces({}), rule, {}, 100.0, 100.0)
    room.admit("a", "run")
    assert (room.begin("b", "run"), room.taken) == (0.0, {"a": "run"})
    waits = KeyPlaces({}, bell_at=500.0)
    assert Room(waits, rule, {}, 100.0, 100.0).begin("b", "run") > 0  # it must not overtake those that wait
    assert Room(KeyPlaces({"a": "run"}), KeyRule(None, None), {"a": "run"}, 100.0, 100.0).taken == {}
