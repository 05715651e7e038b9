"""Which job gets the next free child process: `process=True` jobs wait for one unclaimed, and without a slot."""

from collections import Counter, deque

from naq_worker._active import Active


class Places:
    """The child processes of a worker as places for jobs, and the deliveries that wait for one.

    Args:
        size: How many there are.
        most: How many jobs of one queue may wait: while they do, no more of that queue are ordered.
    """

    def __init__(self, size: int, most: int) -> None:
        self.size = size
        self.most = most
        """How many jobs of one queue may wait."""
        self._free = size
        self.waiting: deque[Active] = deque()
        self._queues: Counter[str] = Counter()

    def take(self, active: Active) -> bool:
        """Reserve a place, unless others wait or all are taken."""
        if active.has_place:
            return True
        if self.waiting or not self._free:
            return False
        self._reserve(active)
        return True

    def leave(self, active: Active) -> None:
        """Give its place back; does nothing for a job without one."""
        if active.has_place:
            active.has_place = False
            self._free += 1

    def wait(self, active: Active) -> None:
        """Let a delivery wait for a place."""
        self.waiting.append(active)
        self._queues[active.delivery.queue] += 1

    def next(self) -> Active | None:
        """Return the delivery that has waited longest, with a place; None where none waits, or no place is free."""
        if not (self._free and self.waiting):
            return None
        active = self.drop()
        self._reserve(active)
        return active

    def drop(self) -> Active:
        """Return the delivery that has waited longest, without a place."""
        active = self.waiting.popleft()
        self._queues[active.delivery.queue] -= 1
        return active

    def drop_last(self) -> Active:
        """Return the delivery that came last, without a place."""
        active = self.waiting.pop()
        self._queues[active.delivery.queue] -= 1
        return active

    def room(self, queue: str) -> int | None:
        """Return how many more jobs of a queue to order while jobs of it wait here; None: as many as wanted."""
        waiting = self._queues[queue]
        return max(0, self.most - waiting) if waiting else None

    def _reserve(self, active: Active) -> None:
        active.has_place = True
        self._free -= 1
