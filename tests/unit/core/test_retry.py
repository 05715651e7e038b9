from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naq_core.errors import DecodeError, InvalidOptionError, UnknownTaskError, UnreadableError
from naq_core.option_set import OptionSet
from naq_core.retry import RetryPolicy


def make_policy(**given: Any) -> RetryPolicy:
    return OptionSet(given).job.retry


@pytest.mark.parametrize(
    ("options", "delays"),
    [
        ({"retry_delay": 3}, [3, 3, 3]),
        ({"retry_delay": timedelta(minutes=1)}, [60, 60, 60]),
        ({"retry_delay": [1, 5]}, [1, 5, 5]),
        ({"retry_delay": [1, 5], "retry_strategy": "exponential"}, [1, 5, 5]),
        ({"retry_delay": 2, "retry_strategy": "linear"}, [2, 4, 6]),
        ({"retry_delay": 2, "retry_strategy": "exponential"}, [2, 4, 8]),
        ({"retry_delay": 2, "retry_strategy": "exponential", "max_delay": 5}, [2, 4, 5]),
    ],
)
def test_delays_follow_the_strategy(options: dict[str, object], delays: list[float]) -> None:
    policy = make_policy(max_retries=3, **options)

    assert delays == [policy.delay(n) for n in (1, 2, 3)]


@given(st.integers(1, 10_000), st.floats(0, 1e6), st.sampled_from(["fixed", "linear", "exponential"]))
def test_no_delay_exceeds_the_cap_and_jitter_stays_in_the_upper_half(retry: int, delay: float, strategy: str) -> None:
    plain = make_policy(max_retries=1, retry_delay=delay, retry_strategy=strategy, max_delay=1000)
    jittered = make_policy(max_retries=1, retry_delay=delay, retry_strategy=strategy, max_delay=1000, jitter=True)

    assert 0 <= plain.delay(retry) <= 1000
    assert plain.delay(retry) / 2 <= jittered.delay(retry) <= plain.delay(retry)


def test_without_options_nothing_is_retried() -> None:
    assert make_policy() == RetryPolicy()
    policy = RetryPolicy()
    assert (policy.max_retries, policy.delays, policy.max_delay, policy.jitter) == (0, (0.0,), 3600.0, False)


def test_jitter_is_drawn_again_for_each_retry() -> None:
    policy = make_policy(max_retries=1, retry_delay=10, jitter=True)
    assert len({policy.delay(1) for _ in range(20)}) > 1


def test_filters_know_subclasses_and_names() -> None:
    only_io = make_policy(max_retries=1, retry_on=(OSError,))
    never_value = make_policy(max_retries=1, ignore_on=("ValueError",))
    both = make_policy(max_retries=1, retry_on=(Exception,), ignore_on=(OSError,))

    assert only_io.wants(FileNotFoundError())
    assert not only_io.wants(ValueError())
    assert not never_value.wants(UnicodeError())
    assert never_value.wants(KeyError())
    assert not both.wants(FileNotFoundError())


def test_what_cannot_be_read_or_found_is_never_retried() -> None:
    policy = make_policy(max_retries=1, retry_on=(Exception, "DecodeError"))
    assert policy.wants(ValueError())
    for error in (DecodeError("not a job"), UnreadableError("the job", "garbage"), UnknownTaskError("m:f", "cannot be imported")):
        assert not policy.wants(error)


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"retry_delay": -1},
        {"retry_delay": "soon"},
        {"retry_delay": []},
        {"retry_delay": b"12"},
        {"retry_delay": {1, 2}},
        {"retry_delay": float("nan")},
        {"retry_strategy": "random"},
        {"retry_on": (42,)},
        {"retry_on": (int,)},
        {"retry_on": ("",)},
        {"retry_on": ("two words",)},
        {"ignore_on": ("Value\x00Error",)},
    ],
)
def test_a_wrong_value_is_named(options: dict[str, object]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        make_policy(**options)
