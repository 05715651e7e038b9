"""Which jobs of a key are next: what a worker has read of its entries, and what it reads when (`docs/adr/0054-keys.md`)."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from naq_core.storage.subjects import LEVELS, NORMAL
from naq_core.storage.waiting_entries import Key, KeyLook, WaitingJob, WantedJobs

AGE = 5.0
"""Seconds for which jobs that were read ahead are taken to be the next ones."""
AGE_WITH_LEVELS = 0.05
"""The same for keys whose jobs have different priorities: a more important one may have come."""
NEAR = 100
"""Sequences between two entries that lie close together. To read some of them, the server looks at every message between the
first and the last."""
MOST_AHEAD = 32
MOST_LOOKED_AT = 1000
LARGE = 16 * 1024
"""Bytes from which on a job is not kept for later."""


class NextJobs:
    """The jobs of one key that are next, as far as they were read."""

    __slots__ = ("_ahead", "_has_gaps", "_is_dense", "_read_at", "_served", "_skips", "following", "is_all", "is_doubted")

    def __init__(self) -> None:
        self.following: list[WaitingJob] = []
        self.is_all = False
        """Nothing more waited at the last look."""
        self.is_doubted = False
        """A start was refused: the next entries may be those of jobs that wait no more."""
        self._ahead = 0
        """How many jobs more than can start are read, since they will be next soon."""
        self._read_at = 0.0
        self._has_gaps = False
        """Some that were read before those cannot be started."""
        self._served = 0
        """All entries of the normal priority up to this sequence have served; their deletion may be on its way."""
        self._skips = False
        """Whether to pass over those at the next look: the server has to look at all messages from there on."""
        self._is_dense = False
        """Its entries lie close together, so that it is worth while to read some more of them."""

    def drop(self) -> None:
        """Forget who is next; the look before the next start finds out."""
        self.following, self.is_all = [], False

    def drop_old(self, now: float, *, has_levels: bool) -> None:
        """Forget who is next if that was read too long ago."""
        if now - self._read_at > (AGE_WITH_LEVELS if has_levels else AGE):
            self.is_all &= not self.following
            self.following, self._ahead, self._served, self._is_dense = [], 0, 0, False

    def look(self, key: Key, room: int, most_ahead: int, passed: int, *, has_levels: bool) -> WantedJobs:
        """Return what to read, as many as there is room for at least.

        Args:
            most_ahead: How many more at most.
            passed: How many were read before that cannot be started.
            has_levels: Whether there may be jobs of other priorities than the normal one.
        """
        if self._is_dense and self._read_at:
            self._ahead = min(MOST_AHEAD, most_ahead, max(4, 2 * self._ahead))
        most = min(room + self._ahead + passed, MOST_LOOKED_AT)
        after = self._served if (self._skips or self._is_dense) and not has_levels else 0
        return WantedJobs(key, most, LEVELS if has_levels else (NORMAL,), self.is_doubted, after)

    def note(self, found: KeyLook, taken: Mapping[str, str], now: float) -> bool:
        """Take note of what was read; return whether to look again, as more may lie behind it.

        Args:
            taken: The jobs that have a place: they cannot be started.
        """
        news = [each for each in found.jobs if each.entry > self._served or each.level != NORMAL]
        jobs = {each.job_id: each for each in reversed(news) if each.job_id not in taken}
        self.following = list(reversed(jobs.values()))
        self._has_gaps = len(jobs) < len(news)
        self._read_at, self.is_all = now, found.is_all
        if self.following:
            entries = [*([self._served] if self._served else []), *(each.entry for each in self.following)]
            self._is_dense = len(entries) > 1 and _are_near(entries)
            self._skips = False
            return False
        if self._served:  # look from the start before it is said that nothing waits: after a crash the server uses numbers again
            self._skips, self.is_all = not self._skips and bool(found.jobs), False
            self._served = self._served if self._skips else 0
            return True
        return not found.is_all

    def look_from_start(self) -> None:
        """Pass over nothing at the next look."""
        self._served = 0

    def take(self, room: int, taken: Mapping[str, str]) -> list[WaitingJob]:
        """Return the jobs that may start, for which there is room, and keep the others."""
        started = [each for each in self.following[:room] if each.job_id not in taken]
        # Not those behind a large one: they would overtake it.
        self.following = list(takewhile(lambda each: len(each.data) <= LARGE, self.following[room:]))
        return started

    def note_started(self, started: Sequence[WaitingJob]) -> list[int]:
        """Take note of jobs that were started, and return the sequences of their entries, which are to be deleted."""
        self.is_doubted = False
        if not self._has_gaps:
            self._served = max([self._served, *(each.entry for each in started if each.level == NORMAL)])
        return [each.entry for each in started]


def _are_near(entries: Sequence[int]) -> bool:
    return entries[-1] - entries[0] < NEAR * len(entries)
