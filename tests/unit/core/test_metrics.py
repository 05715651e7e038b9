"""Figures over time: classes of durations, and sums over sources and stretches."""

import pytest

from naq_core.errors import ConfigurationError
from naq_core.metrics import BOUNDS, LEVELS, level_of, quantile


def test_the_bounds_grow() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))


def test_a_quantile_lies_within_its_class() -> None:
    at_half_a_second = BOUNDS.index(0.5)
    middle = quantile({at_half_a_second: 100}, 0.5)
    assert middle is not None
    assert 0.35 <= middle <= 0.5
    assert quantile({}, 0.5) is None
    assert quantile({len(BOUNDS): 1}, 0.99) == BOUNDS[-1]
    assert quantile({0: 99, at_half_a_second: 1}, 0.5) == pytest.approx(0.0005, abs=0.0005)


def test_the_range_chooses_the_steps() -> None:
    assert [level_of(hours).step for hours in (0.5, 1, 6, 24, 72)] == [10, 10, 60, 600, 600]
    assert all(level.keep > level.step for level in LEVELS)
    for hours in (0, -1, 73):
        with pytest.raises(ConfigurationError):
            level_of(hours)
