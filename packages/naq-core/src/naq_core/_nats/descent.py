"""Reading a stream backwards, newest first, which JetStream itself cannot do.

Direct gets for single sequences are cheap and can be pipelined, so a descent looks at windows of sequences from the top down.
Where they are mostly empty, as other subjects or deleted messages lie there, its probes ("the first match from sequence N on")
move further apart; each probe proves the whole stretch up to its answer empty (`docs/adr/0014-newest-first.md`).
"""

from typing import Any

from naq_core._nats.connection import Connection
from naq_core._nats.direct import Entry, get_many

MOST_PROBES = 256
FEWEST_PROBES = 16
ROUNDS = 8
"""How often a cell is asked for one more match before the step is made smaller."""


class Descent:
    """One way down through the messages of a stream that match a subject.

    Args:
        subject: What is looked for; may hold wildcards. None: every message of the stream.
        below: Sequences from here on are not looked at.
        first: The lowest sequence there is.
    """

    def __init__(self, connection: Connection, stream: str, subject: str | None, *, below: int, first: int) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._top = below
        self._first = first
        self._step = 1
        self._knows_top = subject is None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left below."""
        return self._top <= self._first

    def end(self) -> None:
        """Look no further."""
        self._top = self._first

    async def more(self, want: int) -> list[Entry]:
        """Return the next entries, the newest first, about `want` of them; none at the end."""
        cells = max(FEWEST_PROBES, min(MOST_PROBES, want))
        while self._top > self._first:
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
                return entries
        return []

    async def _find_top(self) -> bool:
        """Jump to the newest match of all, if it is below; this takes the server 1 ms for each 4,000 matching subjects.

        Returns:
            Whether that has helped.
        """
        self._knows_top = True
        newest = (await get_many(self._connection, self._stream, [{"last_by_subj": self._subject}]))[0]
        below = self._first if newest is None else newest.sequence + 1
        if below >= self._top:
            return False
        self._top, self._step = max(below, self._first), 1
        return True

    def _lowest(self, cells: int) -> int:
        return max(self._first, self._top - cells * self._step)

    async def _window(self, cells: int) -> tuple[list[Entry], int]:
        """Look at the next window.

        Returns:
            Its entries, the newest first, and the sequence down to which they are complete.
        """
        lowest = self._lowest(cells)
        starts = [max(lowest, self._top - number * self._step) for number in range(1, cells + 1)]
        starts = starts[: starts.index(lowest) + 1]
        found: dict[int, Entry] = {}
        open_cells: dict[int, int] = dict(zip(starts, [self._top, *starts], strict=False))
        """Where to look on in each cell, and where the cell ends."""
        for _ in range(ROUNDS):
            answers = await self._probe(list(open_cells), exact=self._step == 1)
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
        if not self._knows_top and await self._find_top():
            return
        starts = []
        distance = cells * self._step
        while (start := self._top - distance) > self._first:
            starts.append(start)
            distance *= 2
        starts.append(self._first)
        above = self._top
        for start, entry in zip(starts, await self._probe(starts, exact=False), strict=True):
            if entry is not None and entry.sequence < above:
                self._top, self._step = above, max(1, (above - start) // cells)
                return
            above = start
        self._top = self._first

    async def _probe(self, starts: list[int], *, exact: bool) -> list[Entry | None]:
        """Return for each start the first match from there on; where every message counts, `exact` looks just there."""
        requests: list[dict[str, Any]]
        if exact and self._subject is None:
            requests = [{"seq": start} for start in starts]
        else:
            requests = [{"seq": start, "next_by_subj": self._subject or ">"} for start in starts]
        return await get_many(self._connection, self._stream, requests)


def _sequence(entry: Entry) -> int:
    return entry.sequence
