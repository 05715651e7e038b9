"""Whose turn it is: how free slots are shared between queues, and between the levels of a queue. Knows nothing of NATS."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from naq_core.errors import InvalidOptionError
from naq_core.names import check_queue_pattern, is_pattern, matches
from naq_core.storage.subjects import LEVELS, NORMAL
from naq_core.values import number
from naq_worker._active import Active

LEAST_WEIGHT, MOST_WEIGHT = 1e-9, 1e9
LOWER_SHARE = 0.1
"""Of the slots that a level (or queue) with a backlog gets, so many are offered to each one below it as well: what is less
important is slowed down, but never stops."""
STANDING = 4
"""An idle high or low level keeps an order for one in so many of the free slots: its first jobs come without a round trip."""
AGED = 0.1
"""Seconds after which a delivery takes the next free slot, however important the others are."""
FEW = 64
"""Up to so many sources are looked at together; of more, some each time."""
SURE = 0.02
"""Seconds without a delivery after which an order tells that its source is empty, whatever it last said."""


@dataclass(slots=True, eq=False)
class Source:
    """One level of one queue: what is known of it, and its deliveries that wait for a slot."""

    queue: str
    level: str
    at: int = 0
    """Its place among all, the most important first."""
    rank: int = 0
    """As its place, but the queues of a pattern have the same."""
    is_led: bool = False
    """Something above it had a backlog when it was last looked at."""
    is_asleep: bool = False
    """Nothing was ever put there, so there is no consumer to order from."""
    credit: int = 0
    """Deliveries on order."""
    pending: int = 0
    """How many jobs it had left at its last delivery."""
    spoke_at: float = 0.0
    """When something was last ordered or delivered; seconds on the loop's clock."""
    owed: float = 0.0
    """Slots that it may have although something more important has a backlog."""
    waiting: deque[Active] = field(default_factory=deque)

    def has_backlog(self, now: float) -> bool:
        """Whether it would fill an order at once, as far as is known."""
        return self.pending > 0 and (self.credit == 0 or now - self.spoke_at < SURE)

    def missing(self, share: int) -> int:
        """Return how much to order while nothing is known to wait there: nothing until half of its order has come."""
        standing = share if self.level == NORMAL else max(1, share // STANDING)
        return standing - self.credit if 2 * self.credit <= standing else 0


@dataclass(slots=True, eq=False)
class QueueEntry:
    """A queue as it was named to the worker, or a pattern and the queues that it stands for."""

    name: str
    number: int
    """The most important has 0."""
    weight: float = 1.0
    queues: list[str] = field(default_factory=list)
    """In alphabetical order."""
    sources: list[Source] = field(default_factory=list)
    """Those of its queues."""
    passes: float = 0.0
    """Deliveries by its weight."""
    served: str = ""
    """The queue of a pattern that was the last to have its turn."""
    turn: str = ""
    """The one that is it if what was last wished is ordered."""


class FairShare:
    """The order in which a worker's queues are served.

    All queues of a pattern are as important as each other: they share in turns what the pattern gets.

    Args:
        queues: Names or patterns, the most important first; or with weights, for shares of the slots while all have a backlog.

    Raises:
        InvalidOptionError, InvalidNameError: No queue is given, or a name or weight is wrong.
    """

    def __init__(self, queues: Sequence[str] | Mapping[str, float]) -> None:
        if isinstance(queues, str | bytes | bytearray) or not isinstance(queues, Iterable):
            raise InvalidOptionError("queues", f"must be a list of names, or names with weights, not {queues!r}")
        self.weights: dict[str, float] | None = None
        if isinstance(queues, Mapping):
            self.weights = {check_queue_pattern(name): _check_weight(name, weight) for name, weight in queues.items()}
        weights = self.weights or dict.fromkeys(map(check_queue_pattern, queues), 1.0)
        if not weights:
            raise InvalidOptionError("queues", "a worker needs at least one queue")
        self._entries = [QueueEntry(name, number, weight) for number, (name, weight) in enumerate(weights.items())]
        self._named = {entry.name: entry for entry in self._entries}
        self.patterns = [name for name in weights if is_pattern(name)]
        self.queues: list[str] = []
        """Those that are served now: always the same list."""
        self.sources: list[Source] = []
        self._by_queue: dict[str, list[Source]] = {}
        self._entry_of: dict[str, QueueEntry] = {}
        self._holding: set[Source] = set()
        """Sources with deliveries that wait: a few of what may be tens of thousands."""
        self._turn = 0
        self.add(name for name in weights if not is_pattern(name))

    def covers(self, queue: str) -> bool:
        """Whether a queue is named or matches a pattern."""
        return bool(self._standing_for(queue))

    def wants(self, queue: str) -> bool:
        """Whether a queue is covered and not served yet."""
        return queue not in self._by_queue and self.covers(queue)

    def _standing_for(self, queue: str) -> list[QueueEntry]:
        names = [queue, *(pattern for pattern in self.patterns if matches(pattern, queue))]
        return [self._named[name] for name in names if name in self._named]

    def add(self, queues: Iterable[str]) -> list[Source]:
        """Serve some more queues, each at the place of the first entry that stands for it; return their sources."""
        added: list[Source] = []
        for queue in queues:
            entry = min(self._standing_for(queue), key=lambda each: each.number)
            self._by_queue[queue] = sources = [Source(queue, level) for level in LEVELS]
            self._entry_of[queue] = entry
            entry.queues.append(queue)
            added += sources
        self._arrange()
        return added

    def remove(self, queue: str) -> list[Active]:
        """Serve a queue no longer; return its deliveries that wait for a slot."""
        left = [active for source in self._by_queue[queue] for active in source.waiting]
        self._holding -= set(self._by_queue.pop(queue))
        self._entry_of.pop(queue).queues.remove(queue)
        self._arrange()
        return left

    def _arrange(self) -> None:
        for entry in self._entries:
            entry.queues.sort()
            entry.sources = [source for queue in entry.queues for source in self._by_queue[queue]]
        self.queues[:] = [queue for entry in self._entries for queue in entry.queues]
        self.sources[:] = [source for entry in self._entries for source in entry.sources]
        for at, source in enumerate(self.sources):
            source.at = at
        for entry in self._entries:
            for source in entry.sources:
                source.rank = entry.number * len(LEVELS) + LEVELS.index(source.level)

    @property
    def _is_crowded(self) -> bool:
        return len(self.queues) > FEW

    def wishes(self, free: int, now: float) -> list[tuple[Source, int]]:
        """Return what to order from whom, for so many free slots."""
        idle_share = max(1, free // max(1, len(self.queues)))
        if not self.patterns and (self.weights is None or len(self.queues) == 1):
            return self._strictly(self.sources, free, idle_share, now)[0]
        wishes: list[tuple[Source, int]] = []
        if self.weights is None:
            left = free
            for entry in self._entries:
                found, left = self._within(entry, left, idle_share, now, is_led=left <= 0)
                wishes += found
            return wishes
        shares = self._shares([entry for entry in self._entries if _busy(entry, now)], free, now)
        total = sum(self.weights.values())
        for entry in self._entries:
            idle_share = max(1, int(free * entry.weight / total))
            wishes += self._within(entry, shares.get(entry, idle_share), idle_share, now)[0]
        return wishes

    def _within(
        self, entry: QueueEntry, free: int, idle_share: int, now: float, *, is_led: bool = False
    ) -> tuple[list[tuple[Source, int]], int]:
        """Return what to order from the queues of an entry, and how many slots are left for less important ones."""
        busy = _busy(entry, now) if len(entry.queues) > 1 and not is_led else []
        if not busy:
            return self._strictly(entry.sources, free, idle_share, now, is_led=is_led)
        shares = self._turns(entry, busy, free, now)
        known = frozenset(busy)
        wishes, left = self._strictly([each for each in entry.sources if each.queue not in known], 0, idle_share, now)
        for queue, share in shares.items():
            found, rest = self._strictly(self._by_queue[queue], share, idle_share, now)
            wishes += found
            left += rest
        return wishes, left

    def _turns(self, entry: QueueEntry, busy: Sequence[str], free: int, now: float) -> dict[str, int]:
        """Deal slots evenly to the queues of a pattern that have a backlog; if there are fewer slots, those whose turn it is.

        Of very many only those are looked at.
        """
        first = bisect_right(busy, entry.served) % len(busy)
        some = [*busy[first:], *busy[:first]][: max(FEW, free)]
        shares = {queue: _ordered(self._by_queue[queue], now) for queue in some}
        each, more = divmod(max(0, free - _ordered(entry.sources, now)), len(some))
        entry.turn = list(shares)[more - 1] if more else entry.served
        return {queue: credit + each + (number < more) for number, (queue, credit) in enumerate(shares.items())}

    def _strictly(
        self, sources: Sequence[Source], free: int, idle_share: int, now: float, *, is_led: bool = False
    ) -> tuple[list[tuple[Source, int]], int]:
        """The first source with a backlog gets everything; those below it get what they are owed.

        With very many queues it gets no more than it has: most have a job or two, and the others would wait for each of them.

        Returns:
            What to order, and how many slots are left.
        """
        wishes: list[tuple[Source, int]] = []
        left, is_crowded = free, self._is_crowded
        for source in sources:
            if source.is_asleep:
                continue
            source.is_led = is_led
            if is_led:
                count = int(source.owed) if source.credit == 0 else 0
            elif source.has_backlog(now):
                share = min(left, source.pending) if is_crowded else left
                left -= share
                is_led = left <= 0
                count = share - source.credit
            else:
                count = source.missing(idle_share)
            if count > 0:
                wishes.append((source, count))
        return wishes, left

    def _shares(self, busy: Sequence[QueueEntry], free: int, now: float) -> dict[QueueEntry, int]:
        """Deal the free slots to the entries with a backlog, each slot to the one that is furthest behind its weight.

        What it has on order counts as dealt; an idle time earns nothing.
        """
        if not busy:
            return {}
        latest = max(entry.passes for entry in self._entries)
        for entry in self._entries:
            if entry not in busy:
                entry.passes = latest
        shares = {entry: _ordered(entry.sources, now) for entry in busy}
        passes = {entry: entry.passes + share / entry.weight for entry, share in shares.items()}
        for _ in range(free - sum(shares.values())):
            entry = min(busy, key=passes.__getitem__)
            shares[entry] += 1
            passes[entry] += 1 / entry.weight
        return shares

    def note_order(self, source: Source, count: int, now: float) -> None:
        """Take account of an order; a source below one with a backlog earns a share of it."""
        if source.is_led:
            source.owed = max(0.0, source.owed - count)
        elif source.has_backlog(now):
            group = self.sources if self.weights is None else self._by_queue[source.queue]
            for below in self._below(group, source.at - group[0].at + 1):
                below.owed = min(below.owed + count * LOWER_SHARE, max(2.0, 2 * count * LOWER_SHARE))
            entry = self._entry_of[source.queue]
            entry.served = entry.turn
        source.credit += count
        source.spoke_at = now

    def _below(self, group: Sequence[Source], start: int) -> Sequence[Source]:
        """Return the sources from a rank on: all of a few, some of very many, others each time."""
        if len(group) - start <= FEW:
            return group[start:]
        self._turn = max(start, (self._turn + FEW) % len(group))
        return group[self._turn : self._turn + FEW]

    def note_delivery(self, source: Source, pending: int, now: float) -> None:
        """Take account of a delivery."""
        source.pending = pending
        source.spoke_at = now
        if self.weights is not None and (entry := self._entry_of.get(source.queue)) is not None:
            entry.passes += 1 / entry.weight

    def wait(self, source: Source, active: Active) -> None:
        """Keep a delivery of a source until `next` or `overdue` returns it."""
        source.waiting.append(active)
        self._holding.add(source)

    def next(self, now: float) -> Active | None:
        """Return the waiting delivery that is to have the next slot: the most important, or one that has waited long."""
        chosen: Source | None = None
        for source in sorted(self._holding, key=lambda each: each.rank):
            arrived_at = source.waiting[0].arrived_at
            if chosen is None or (arrived_at < now - AGED and arrived_at < chosen.waiting[0].arrived_at):
                chosen = source
        return None if chosen is None else self._take(chosen)

    def overdue(self, latest: float) -> list[Active]:
        """Return the deliveries that arrived before `latest`; they wait no longer."""
        found: list[Active] = []
        for source in tuple(self._holding):
            while source.waiting and source.waiting[0].arrived_at < latest:
                found.append(self._take(source))
        return found

    def _take(self, source: Source) -> Active:
        active = source.waiting.popleft()
        if not source.waiting:
            self._holding.remove(source)
        return active


def _busy(entry: QueueEntry, now: float) -> list[str]:
    """Return the queues of an entry that have a backlog, in alphabetical order."""
    return list(dict.fromkeys(source.queue for source in entry.sources if source.pending and source.has_backlog(now)))


def _ordered(sources: Iterable[Source], now: float) -> int:
    """Return how much is on order from those with a backlog."""
    return sum(source.credit for source in sources if source.credit and source.has_backlog(now))


def _check_weight(queue: str, weight: object) -> float:
    return number(weight, f"the weight of queue {queue!r}", LEAST_WEIGHT, MOST_WEIGHT)
