"""The server's time, from stamps in its answers: without a server, and with clocks that the test sets."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from naq_core.transport import clock as module
from naq_core.transport.clock import MOST_SKEW, ServerClock

EPOCH = 1_800_000_000.0


class Clocks:
    """This machine's two clocks, and the server's."""

    def __init__(self) -> None:
        self.boot = 1000.0
        self.wall = EPOCH
        self.server = EPOCH

    def time(self) -> float:
        return self.wall

    def go_on(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds
        self.server += seconds

    def stamp(self) -> str:
        return datetime.fromtimestamp(self.server, UTC).isoformat()


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(module, "boottime", lambda: clocks.boot)
    monkeypatch.setattr(module, "time", clocks)
    return clocks


def measure(clock: ServerClock, clocks: Clocks, there: float = 0.001, back: float = 0.001) -> None:
    """Ask the server; the question and the answer take that long."""
    asked = clocks.boot
    clocks.go_on(there)
    stamp = clocks.stamp()
    clocks.go_on(back)
    clock.note(stamp, asked, clocks.boot)


def test_before_the_first_answer_the_time_is_this_machines(clocks: Clocks) -> None:
    clock = ServerClock()
    assert clock.now() == clocks.wall
    assert (clock.is_known, clock.skew, clock.is_trusted) == (False, 0.0, True)


@pytest.mark.parametrize("ahead", [90.0, -90.0, 3650 * 86400.0])
def test_the_time_is_the_servers_however_wrong_this_machine_is(clocks: Clocks, ahead: float) -> None:
    clocks.wall += ahead
    clock = ServerClock()
    measure(clock, clocks)
    clocks.go_on(5)
    assert clock.now() == pytest.approx(clocks.server, abs=0.01)
    assert clock.skew == pytest.approx(ahead, abs=0.01)
    assert clock.is_trusted == (abs(ahead) <= MOST_SKEW)


def test_setting_this_machines_clock_changes_nothing_but_the_skew(clocks: Clocks) -> None:
    clock = ServerClock()
    measure(clock, clocks)
    clocks.wall += 3600
    assert clock.now() == pytest.approx(clocks.server, abs=0.01)
    assert clock.skew == pytest.approx(3600, abs=0.01)
    clocks.wall -= 3600
    assert clock.is_trusted


def test_a_slow_answer_does_not_replace_a_quick_one(clocks: Clocks) -> None:
    clock = ServerClock()
    measure(clock, clocks)
    measure(clock, clocks, there=3.0, back=0.0)
    assert clock.now() == pytest.approx(clocks.server, abs=0.01)


def test_a_quick_answer_replaces_a_slow_one(clocks: Clocks) -> None:
    clock = ServerClock()
    measure(clock, clocks, there=0.0, back=4.0)
    assert clock.uncertainty == pytest.approx(2, abs=0.01)
    measure(clock, clocks)
    clocks.go_on(10)
    assert clock.now() == pytest.approx(clocks.server, abs=0.01)


def test_a_server_whose_clock_was_set_is_believed(clocks: Clocks) -> None:
    clock = ServerClock()
    measure(clock, clocks)
    clocks.server -= 600
    measure(clock, clocks)
    assert clock.now() == pytest.approx(clocks.server, abs=0.01)


def test_a_small_correction_backwards_makes_no_stamp_smaller_than_an_earlier_one(clocks: Clocks) -> None:
    clock = ServerClock()
    measure(clock, clocks)
    stamps = [clock.now()]
    clocks.server -= 0.5
    measure(clock, clocks)
    for _ in range(10):
        stamps.append(clock.now())
        clocks.go_on(0.1)
    assert stamps == sorted(stamps)
    assert clock.now() == pytest.approx(clocks.server, abs=0.01)


@pytest.mark.parametrize("stamp", [None, 5, "", "soon", "2026-11-28T12:00:00"])
def test_a_stamp_that_is_none_is_ignored(clocks: Clocks, stamp: object) -> None:
    clock = ServerClock()
    clock.note(stamp, clocks.boot, clocks.boot)
    assert not clock.is_known


def test_a_wrong_clock_is_reported_once_and_so_is_its_end(clocks: Clocks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "naq_core.connection")
    clock = ServerClock()
    clocks.wall += 60
    for _ in range(3):
        measure(clock, clocks)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "60.0 s ahead of" in caplog.text
    clocks.wall -= 60
    clock.warn()
    clock.warn()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
