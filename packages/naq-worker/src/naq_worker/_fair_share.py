"""Whose turn it is: how free slots are shared between queues, and between the levels of a queue. Knows nothing of NATS."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from naq_core.errors import InvalidOptionError
from naq_core.names import check_queue
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
    rank: int = 0
    """Its place among all, the most important first."""
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


class FairShare:
    """The order in which a worker's queues are served.

    Args:
        queues: Names, the most important first; or names with weights, for shares of the slots while all have a backlog.

    Raises:
        InvalidOptionError, InvalidNameError: No queue is given, or a name or weight is wrong.
    """

    def __init__(self, queues: Sequence[str] | Mapping[str, float]) -> None:
        if isinstance(queues, str | bytes | bytearray) or not isinstance(queues, Iterable):
            raise InvalidOptionError("queues", f"must be a list of names, or names with weights, not {queues!r}")
        self.weights: dict[str, float] | None = None
        if isinstance(queues, Mapping):
            self.weights = {check_queue(name): _check_weight(name, weight) for name, weight in queues.items()}
        self.queues = list(dict.fromkeys(check_queue(name) for name in queues))
        if not self.queues:
            raise InvalidOptionError("queues", "a worker needs at least one queue")
        places = [(queue, level) for queue in self.queues for level in LEVELS]
        self.sources = [Source(queue, level, rank) for rank, (queue, level) in enumerate(places)]
        levels = len(LEVELS)
        self._by_queue = {queue: self.sources[at * levels : (at + 1) * levels] for at, queue in enumerate(self.queues)}
        self._holding: set[Source] = set()
        """Sources with deliveries that wait: a few of what may be tens of thousands."""
        self._is_crowded = len(self.queues) > FEW
        self._passes = dict.fromkeys(self.queues, 0.0)
        self._turn = 0

    def wishes(self, free: int, now: float) -> list[tuple[Source, int]]:
        """Return what to order from whom, for so many free slots."""
        if self.weights is None or len(self.queues) == 1:
            return self._strictly(self.sources, free, max(1, free // len(self.queues)), now)
        busy = [queue for queue in self.queues if any(source.has_backlog(now) for source in self._by_queue[queue])]
        shares = self._shares(busy, free, now)
        total = sum(self.weights.values())
        wishes: list[tuple[Source, int]] = []
        for queue, sources in self._by_queue.items():
            idle_share = max(1, int(free * self.weights[queue] / total))
            wishes += self._strictly(sources, shares.get(queue, idle_share), idle_share, now)
        return wishes

    def _strictly(self, sources: Sequence[Source], free: int, idle_share: int, now: float) -> list[tuple[Source, int]]:
        """The first source with a backlog gets everything; those below it get what they are owed.

        With very many queues it gets no more than it has: most have a job or two, and the others would wait for each of them.
        """
        wishes: list[tuple[Source, int]] = []
        left, is_led = free, False
        for source in sources:
            if source.is_asleep:
                continue
            source.is_led = is_led
            if is_led:
                count = int(source.owed) if source.credit == 0 else 0
            elif source.has_backlog(now):
                share = min(left, source.pending) if self._is_crowded else left
                left -= share
                is_led = left <= 0
                count = share - source.credit
            else:
                count = source.missing(idle_share)
            if count > 0:
                wishes.append((source, count))
        return wishes

    def _shares(self, busy: Sequence[str], free: int, now: float) -> dict[str, int]:
        """Deal the free slots to the queues with a backlog, each slot to the one that is furthest behind its weight.

        What a queue has on order counts as dealt; an idle time earns nothing.
        """
        if self.weights is None or not busy:
            return {}
        latest = max(self._passes.values())
        for queue in self.queues:
            if queue not in busy:
                self._passes[queue] = latest
        shares = {queue: sum(source.credit for source in self._by_queue[queue] if source.has_backlog(now)) for queue in busy}
        passes = {queue: self._passes[queue] + share / self.weights[queue] for queue, share in shares.items()}
        for _ in range(free - sum(shares.values())):
            queue = min(busy, key=passes.__getitem__)
            shares[queue] += 1
            passes[queue] += 1 / self.weights[queue]
        return shares

    def note_order(self, source: Source, count: int, now: float) -> None:
        """Take account of an order; a source below one with a backlog earns a share of it."""
        if source.is_led:
            source.owed = max(0.0, source.owed - count)
        elif source.has_backlog(now):
            group = self.sources if self.weights is None else self._by_queue[source.queue]
            for below in self._below(group, source.rank - group[0].rank + 1):
                below.owed = min(below.owed + count * LOWER_SHARE, max(2.0, 2 * count * LOWER_SHARE))
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
        if self.weights is not None:
            self._passes[source.queue] += 1 / self.weights[source.queue]

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


def _check_weight(queue: str, weight: object) -> float:
    return number(weight, f"the weight of queue {queue!r}", LEAST_WEIGHT, MOST_WEIGHT)
