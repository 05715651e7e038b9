"""Which columns of a table a terminal has room for, and how wide each is."""

from collections.abc import Sequence
from typing import NamedTuple

GAP = 3
"""Between two columns."""
_LEAST = 12
"""A column that may be cut short keeps this many characters."""


class Wish(NamedTuple):
    """What one column would like."""

    natural: int
    """The width of its longest cell or its title."""
    can_shrink: bool
    rank: int
    """Columns of the highest rank are left out first; the first column never is."""

    @property
    def least(self) -> int:
        """The width below which it is better left out."""
        return min(self.natural, _LEAST) if self.can_shrink else self.natural


def fit(wishes: Sequence[Wish], available: int) -> dict[int, int]:
    """Return the width of each column that is shown, by its position.

    Columns are left out, the highest rank and the rightmost first, until the rest fits at its least widths; what is then left
    over goes to the columns that were made narrower.
    """
    shown = list(range(len(wishes)))
    while len(shown) > 1 and _needed(wishes, shown) > available:
        shown.remove(max(shown[1:], key=lambda position: (wishes[position].rank, position)))
    widths = {position: wishes[position].least for position in shown}
    left = available - _needed(wishes, shown)
    while left > 0 and (growing := [each for each in shown if widths[each] < wishes[each].natural]):
        # The narrowest first: a short name is shown whole before a long one gets more.
        position = min(growing, key=lambda each: (wishes[each].natural - widths[each], each))
        more = min(left, wishes[position].natural - widths[position])
        widths[position] += more
        left -= more
    if left < 0:
        widths[shown[0]] = max(1, widths[shown[0]] + left)
    return widths


def _needed(wishes: Sequence[Wish], shown: Sequence[int]) -> int:
    return sum(wishes[position].least for position in shown) + GAP * (len(shown) - 1)
