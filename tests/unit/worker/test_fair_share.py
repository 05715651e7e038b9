"""Whose turn it is: the sharing of slots between queues and levels, without a server."""

from collections import Counter
from typing import Any, cast

import pytest

from naq_core.errors import ConfigurationError, InvalidNameError
from naq_worker._active import Active
from naq_worker._fair_share import AGED, SURE, FairShare, Source

NOW = 1000.0


def with_backlog(shares: FairShare, *names: str, now: float = NOW) -> None:
    for source in shares.sources:
        if f"{source.queue}.{source.level}" in names:
            source.pending, source.spoke_at = 1000, now


def wished(shares: FairShare, free: int, now: float = NOW) -> dict[str, int]:
    return {f"{source.queue}.{source.level}": count for source, count in shares.wishes(free, now)}


def serve(shares: FairShare, rounds: int, slots: int, waiting: set[str], now: float = NOW) -> Counter[str]:
    """Let every order be filled at once where there is a backlog, as a busy server does, and count who got slots."""
    served: Counter[str] = Counter()
    for source in shares.sources:
        source.pending = 1000 if f"{source.queue}.{source.level}" in waiting else 0
    free = slots
    for _ in range(rounds):
        begun = 0
        for source, count in shares.wishes(free, now):
            shares.note_order(source, count, now)
            if source.pending:
                source.credit -= count
                for _ in range(count):
                    shares.note_delivery(source, 1000, now)
                served[f"{source.queue}.{source.level}"] += count
                begun += count
        free = slots - max(0, begun - free)  # what came beyond the slots waits for those of the next round
    return served


def test_an_idle_worker_orders_for_all_its_slots_and_a_few_of_the_other_levels() -> None:
    assert wished(FairShare(["a"]), 40) == {"a.high": 10, "a.normal": 40, "a.low": 10}


def test_several_idle_queues_share_the_slots() -> None:
    assert wished(FairShare(["a", "b"]), 40) == {
        "a.high": 5, "a.normal": 20, "a.low": 5, "b.high": 5, "b.normal": 20, "b.low": 5,
    }  # fmt: skip


def test_a_level_with_a_backlog_gets_everything_and_those_below_it_nothing_at_first() -> None:
    shares = FairShare(["a"])
    with_backlog(shares, "a.high", "a.low")
    assert wished(shares, 40) == {"a.high": 40}
    shares = FairShare(["a"])
    with_backlog(shares, "a.normal", "a.low")
    assert wished(shares, 40) == {"a.high": 10, "a.normal": 40}


@pytest.mark.parametrize("slots", [1, 7, 100])
def test_what_is_less_important_is_slowed_down_and_never_stands_still(slots: int) -> None:
    rounds = 3000 // slots
    served = serve(FairShare(["a"]), rounds, slots, {"a.high", "a.normal", "a.low"})
    total = served.total()
    assert served["a.high"] / total > 0.75
    assert 0.04 < served["a.normal"] / total < 0.15
    assert 0.04 < served["a.low"] / total < 0.15


def test_queues_in_a_list_come_one_after_the_other() -> None:
    served = serve(FairShare(["urgent", "rest"]), 300, 10, {"urgent.normal", "rest.normal"})
    assert 0.06 < served["rest.normal"] / served.total() < 0.13


@pytest.mark.parametrize("slots", [1, 4, 10, 100])
def test_weights_are_shares_of_the_slots(slots: int) -> None:
    served = serve(FairShare({"a": 3, "b": 1}), 4000 // slots, slots, {"a.normal", "b.normal"})
    assert served["a.normal"] / served.total() == pytest.approx(0.75, abs=0.03)


def test_a_queue_without_a_backlog_leaves_its_share_to_the_others() -> None:
    shares = FairShare({"a": 3, "b": 1})
    with_backlog(shares, "b.normal")
    assert wished(shares, 40)["b.normal"] == 40


def test_an_idle_time_earns_no_lead() -> None:
    shares = FairShare({"a": 1, "b": 1})
    serve(shares, 100, 10, {"a.normal"})
    served = serve(shares, 10, 10, {"a.normal", "b.normal"})
    assert served["b.normal"] / served.total() == pytest.approx(0.5, abs=0.1)


def test_an_order_that_is_not_filled_tells_that_there_is_no_backlog() -> None:
    shares = FairShare(["a"])
    with_backlog(shares, "a.high")
    [(high, count)] = shares.wishes(40, NOW)
    shares.note_order(high, count, NOW)
    assert wished(shares, 40, NOW + SURE / 2) == {"a.normal": 4, "a.low": 4}
    assert wished(shares, 40, NOW + SURE * 2) == {"a.normal": 40, "a.low": 10}


def test_of_very_many_queues_the_first_gets_no_more_than_it_has() -> None:
    shares = FairShare([f"q{number:03}" for number in range(100)])
    with_backlog(shares, "q050.normal")
    shares.sources[1].pending, shares.sources[1].spoke_at = 2, NOW
    shares.sources[4].pending, shares.sources[4].spoke_at = 1, NOW
    wishes = wished(shares, 10)
    assert (wishes["q000.normal"], wishes["q001.normal"], wishes["q050.normal"]) == (2, 1, 7)
    assert wishes["q049.normal"] == 1
    assert "q051.normal" not in wishes


def waiter(shares: FairShare, source: Source, arrived_at: float) -> Active:
    active = Active(cast("Any", None), 0.0, arrived_at=arrived_at)
    shares.wait(source, active)
    return active


def test_the_most_important_waits_least_but_nobody_waits_long() -> None:
    shares = FairShare(["a"])
    high, _, low = shares.sources
    first_low = waiter(shares, low, NOW)
    second_low = waiter(shares, low, NOW + AGED)
    first_high = waiter(shares, high, NOW + AGED / 2)
    second_high = waiter(shares, high, NOW + AGED)
    assert [shares.next(NOW + AGED / 2), shares.next(NOW + AGED * 1.5), shares.next(NOW + AGED * 1.5)] == [
        first_high, first_low, second_high,
    ]  # fmt: skip
    assert shares.next(NOW + AGED) is second_low
    assert shares.next(NOW + AGED) is None


@pytest.mark.parametrize("weight", [0, -1, True, float("inf"), float("nan"), "3"])
def test_a_weight_that_is_none_is_refused(weight: object) -> None:
    with pytest.raises(ConfigurationError, match=r"weight.*'a'"):
        FairShare({"a": weight})  # type: ignore[dict-item]


def test_no_queue_and_a_wrong_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one queue"):
        FairShare([])
    with pytest.raises(InvalidNameError, match=r"'a\.b'"):
        FairShare({"a.b": 1})


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_the_queues_of_a_pattern_take_turns(slots: int) -> None:
    shares = FairShare(["first", "cust-*"])
    shares.add(["cust-b", "cust-a", "cust-c"])
    assert shares.queues == ["first", "cust-a", "cust-b", "cust-c"]
    served = serve(shares, 600, slots, {"cust-a.normal", "cust-b.normal", "cust-c.low"})
    assert min(served.values()) > 0.9 * max(served.values())
    assert len(served) == 3


def test_a_queue_before_a_pattern_goes_first() -> None:
    shares = FairShare(["first", "cust-*"])
    shares.add(["cust-a", "cust-b"])
    served = serve(shares, 3000, 2, {"first.normal", "cust-a.normal", "cust-b.normal"})
    assert served["first.normal"] > 3 * served["cust-a.normal"] > 0
    assert abs(served["cust-a.normal"] - served["cust-b.normal"]) <= 0.2 * served["cust-a.normal"]


def test_a_pattern_has_one_weight_for_all_its_queues() -> None:
    shares = FairShare({"mail": 3, "cust-*": 1})
    shares.add(f"cust-{number}" for number in range(4))
    served = serve(shares, 1000, 4, {"mail.normal", *(f"cust-{number}.normal" for number in range(4))})
    assert served["mail.normal"] / served.total() == pytest.approx(0.75, abs=0.05)
    assert len({served[f"cust-{number}.normal"] // 40 for number in range(4)}) <= 2


def test_a_queue_is_served_at_the_place_of_the_first_entry_that_stands_for_it() -> None:
    shares = FairShare(["vip-1", "vip-*", "*"])
    assert not shares.wants("vip-1")
    assert shares.wants("vip-2")
    shares.add(["zoo", "vip-2", "any"])
    assert shares.queues == ["vip-1", "vip-2", "any", "zoo"]
    assert shares.remove("vip-2") == []
    assert shares.queues == ["vip-1", "any", "zoo"]
    assert shares.wants("vip-2")
