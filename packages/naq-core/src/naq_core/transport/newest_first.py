"""Reading a stream backwards, newest first, which JetStream itself cannot do.

Direct gets for single sequences are cheap and can be pipelined, so a scan looks at windows of sequences from the top down.
Where they are mostly empty, as other subjects or deleted messages lie there, its probes ("the first match from sequence N on")
move further apart; each probe proves the whole stretch up to its answer empty (`docs/adr/0014-newest-first.md`). Where nothing
lies for long, a probe costs the server up to some milliseconds: so many are sent at once as take a moment.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from naq_core.transport.direct import Entry, get_many
from naq_core.transport.jetstream import JetStream

MOST_PROBES = 256
FEWEST_PROBES = 16
AFFORDABLE = 0.02
"""Seconds that the probes of one round should take."""
FEWEST_AFFORDED = 4
LEAPS = 4
"""Probes of a leap that are sent at once."""
MOST_STEPS = 1000
"""Subjects of which it is kept how far apart their messages lie."""
ROUNDS = 8
"""How often a cell is asked for one more match before the step is made smaller."""


class ReverseScan:
    """One way down through the messages of a stream that match a subject.

    Args:
        subject: What is looked for; may hold wildcards. None: every message of the stream.
        below: Sequences from here on are not looked at.
        first: The lowest sequence there is.
        is_rare: So few match that asking for the newest match of all is cheap.
        step: How far apart the matches lie, if that is known; 0: as far as they lay the last time.
    """

    def __init__(
        self,
        connection: JetStream,
        stream: str,
        subject: str | None,
        *,
        below: int,
        first: int,
        is_rare: bool = False,
        step: int = 0,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._is_match = _matcher(subject)
        self._top = below
        self._first = first
        self._step = step or connection.steps.get((stream, subject), 1)
        self._knows_ends = not is_rare
        self._probe_seconds = 0.0
        """What a probe took in the round before."""

    @property
    def top(self) -> int:
        """All from here on up has been returned."""
        return self._top

    @property
    def is_done(self) -> bool:
        """Whether nothing is left below."""
        return self._top <= self._first

    def end(self) -> None:
        """Look no further."""
        self._top = self._first

    async def more(self, want: int, until: float | None = None) -> list[Entry]:
        """Return the next entries, the newest first, about `want` of them; none at the end, or when time is up.

        Args:
            until: When that is, by the event loop's clock; None: never.
        """
        loop = asyncio.get_running_loop()
        while self._top > self._first and (until is None or loop.time() < until):
            cells = self._cells(want)
            entries, clear_from = await self._window(cells)
            is_stuck = clear_from > self._lowest(cells)
            self._top = clear_from
            if is_stuck:
                self._step = max(1, self._step // 8)
            elif not entries:
                await self._leap(cells)
            elif len(entries) * 2 < cells:
                self._step *= 2
            elif len(entries) > 2 * cells:
                self._step = max(1, self._step // 2)
            if entries:
                if len(self._connection.steps) >= MOST_STEPS:
                    self._connection.steps.clear()
                self._connection.steps[self._stream, self._subject] = self._step
                return entries
        return []

    def _cells(self, want: int) -> int:
        """Return into how many parts the next window is cut, each with a probe of its own."""
        cells = max(FEWEST_PROBES, min(MOST_PROBES, want))
        if self._step > 1 and self._probe_seconds > 0:
            cells = max(FEWEST_AFFORDED, min(cells, int(AFFORDABLE / self._probe_seconds)))
        return cells

    async def _find_ends(self) -> bool:
        """Learn between where matches lie at all: that takes the server 1 ms for each 4,000 of them, so only of a rare subject.

        Returns:
            Whether the next window is another one for it.
        """
        self._knows_ends = True
        requests: list[dict[str, Any]] = [
            {"seq": self._first, "next_by_subj": self._subject or ">"},
            {"last_by_subj": self._subject or ">"},
        ]
        lowest, newest = await get_many(self._connection, self._stream, requests)
        if lowest is None or lowest.sequence >= self._top:
            self._top = self._first
            return True
        self._first = lowest.sequence
        if newest is None or newest.sequence + 1 >= self._top:
            return False
        self._top, self._step = max(newest.sequence + 1, self._first), 1
        return True

    def _lowest(self, cells: int) -> int:
        return max(self._first, self._top - cells * self._step)

    async def _window(self, cells: int) -> tuple[list[Entry], int]:
        """Look at the next window.

        Returns:
            Its entries, the newest first, and the sequence down to which they are complete.
        """
        lowest = self._lowest(cells)
        if self._step == 1:
            found_here = await self._look_at(range(self._top - 1, lowest - 1, -1))
            return found_here, lowest
        starts = [max(lowest, self._top - number * self._step) for number in range(1, cells + 1)]
        starts = starts[: starts.index(lowest) + 1]
        found: dict[int, Entry] = {}
        open_cells: dict[int, int] = dict(zip(starts, [self._top, *starts], strict=False))
        """Where to look on in each cell, and where the cell ends."""
        for _ in range(ROUNDS):
            answers = await self._probe(list(open_cells))
            following: dict[int, int] = {}
            for end, entry in zip(open_cells.values(), answers, strict=True):
                if entry is not None and entry.sequence < end:
                    found[entry.sequence] = entry
                    if entry.sequence + 1 < end:
                        following[entry.sequence + 1] = end
            open_cells = following
            if not open_cells:
                break
        clear_from = max(open_cells.values(), default=lowest)
        return sorted((each for each in found.values() if each.sequence >= clear_from), key=_sequence, reverse=True), clear_from

    async def _leap(self, cells: int) -> None:
        """Go down to the next stretch that holds a match, found by probes at distances that double."""
        if not self._knows_ends and await self._find_ends():
            return
        above, distance = self._top, cells * self._step
        while above > self._first:
            starts = [max(self._first, self._top - distance * 2**number) for number in range(LEAPS)]
            for start, entry in zip(starts, await self._probe(starts), strict=True):
                if entry is not None and entry.sequence < above:
                    self._top, self._step = above, max(self._step, (above - start) // cells)
                    return
                above = start
            distance *= 2**LEAPS
        self._top = self._first

    async def _look_at(self, sequences: Sequence[int]) -> list[Entry]:
        """Return the matches among just these sequences."""
        found = await get_many(self._connection, self._stream, [{"seq": sequence} for sequence in sequences])
        return [entry for entry in found if entry is not None and self._is_match(entry.subject)]

    async def _probe(self, starts: Sequence[int]) -> list[Entry | None]:
        """Return for each start the first match from there on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        requests: list[dict[str, Any]] = [{"seq": start, "next_by_subj": self._subject or ">"} for start in starts]
        found = await get_many(self._connection, self._stream, requests)
        self._probe_seconds = (loop.time() - began) / len(starts)
        return found


def _matcher(subject: str | None) -> Callable[[str], bool]:
    """Return what says whether a subject is one of those meant; only `*` is a wildcard."""
    if subject is None:
        return lambda _: True
    wanted = subject.split(".")
    fixed = [(place, each) for place, each in enumerate(wanted) if each != "*"]

    def is_match(found: str) -> bool:
        tokens = found.split(".")
        return len(tokens) == len(wanted) and all(tokens[place] == each for place, each in fixed)

    return is_match


def _sequence(entry: Entry) -> int:
    return entry.sequence
