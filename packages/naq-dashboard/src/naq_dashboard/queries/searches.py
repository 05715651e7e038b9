"""Searches that go on until they are through or have filled a page, while somebody looks at the page."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from naq_core.errors import NaqError
from naq_core.inspect import list_jobs
from naq_core.tasks import Background
from naq_core.views import JobFilter, JobPage, JobView
from naq_dashboard.nats import Broker
from naq_dashboard.queries.reader import Reader

__all__ = ["Search", "Searches", "names_one"]

STEP_SECONDS = 0.1
"""A search looks for so long and tells how far it is. Then all searches pause for as long."""
COURTESY = 0.5
"""Seconds for which a search lets pages go first that are being read."""
STEP_ENTRIES = 50_000
ABANDONED = 10.0
"""Seconds after which a search ends that no page asks for; pages that are looked at ask at least every few seconds."""
SHORTEST_FRESH = 5.0
FRESH_SHARE = 20
"""A search that is through is made again after twenty times as long as it took: what it found may have changed."""
MOST = 20
"""Searches at once; a page beyond them shows what was found in the first moment, and the way to go on."""

Key: TypeAlias = tuple[JobFilter, int, str]


@dataclass(slots=True)
class Search:
    """How far a search is."""

    jobs: list[JobView]
    cursor: str | None
    """Where it goes on; None once it is through."""
    scanned: int
    limit: int
    began: float
    """By the event loop's clock."""
    asked: float
    took: float = 0.0
    error: str = ""
    successor: "Search | None" = None
    """The same search, made again; its finds replace these when it has ended."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether it has looked everywhere, filled the page, or cannot go on."""
        return self.cursor is None or len(self.jobs) >= self.limit or bool(self.error)

    @property
    def is_running(self) -> bool:
        """Whether it goes on by itself."""
        return self.task is not None and not self.task.done()

    def with_newest(self, head: JobPage) -> JobPage:
        """Return what was found, those that have changed since first, in their new state."""
        known = {(each.queue, each.job_id) for each in head.jobs}
        rest = [each for each in self.jobs if (each.queue, each.job_id) not in known]
        return JobPage(jobs=head.jobs + rest, cursor=self.cursor, scanned=max(self.scanned, head.scanned))


class Searches:
    """The searches of this process. Pages that ask the same share one.

    Args:
        read: Reads for pages, which go first.
        changed: Called when a search has found more.
    """

    def __init__(self, broker: Broker, read: Reader, changed: Callable[[], None]) -> None:
        self._broker = broker
        self._read = read
        self._changed = changed
        self._known: dict[Key, Search] = {}
        self._background = Background()
        self._turn = asyncio.Lock()
        """Of all searches one looks or pauses at a time: together they take half of the time, however many there are."""

    def get(self, wanted: JobFilter, limit: int, cursor: str) -> Search | None:
        """Return a search that somebody follows or has stopped a moment ago."""
        return self._known.get((wanted, limit, cursor))

    def follow(self, wanted: JobFilter, limit: int, cursor: str, head: JobPage | None) -> Search | None:
        """Return the search, and let it go on; None if there are too many at once.

        Args:
            head: What was found in the first moment; a new search goes on from there.
        """
        now = asyncio.get_running_loop().time()
        self._forget(now)
        key = (wanted, limit, cursor)
        search = self._known.get(key)
        if search is None:
            if head is None or sum(each.is_running for each in self._known.values()) >= MOST:
                return None
            search = self._known[key] = Search(list(head.jobs), head.cursor, head.scanned, limit, now, now)
        search.asked = now
        if search.successor is not None and search.successor.is_over and not search.successor.error:
            search = self._known[key] = search.successor
            search.asked = now
        if not search.is_over and not search.is_running:
            search.task = self._background.start(self._run(key, search), "naq-dashboard-search")
        elif search.is_over and search.successor is None and now - search.began > self._fresh(search):
            again = search.successor = Search([], cursor, 0, limit, now, now)
            again.task = self._background.start(self._run(key, again, search), "naq-dashboard-search")
        return search

    def stop(self, wanted: JobFilter, limit: int, cursor: str) -> Search | None:
        """End a search where it is; another viewer who follows it starts it again. Return None if it is unknown."""
        search = self._known.get((wanted, limit, cursor))
        if search is not None and search.task is not None:
            search.task.cancel()
            search.task = None
        return search

    def forget(self) -> None:
        """Make searches that have ended again, as after an action."""
        for key in [key for key, each in self._known.items() if each.is_over]:
            del self._known[key]

    async def close(self) -> None:
        """End all searches."""
        await self._background.close()

    @staticmethod
    def _fresh(search: Search) -> float:
        return max(SHORTEST_FRESH, search.took * FRESH_SHARE)

    def _forget(self, now: float) -> None:
        for key in [key for key, each in self._known.items() if now - each.asked > ABANDONED and not each.is_running]:
            del self._known[key]

    async def _run(self, key: Key, search: Search, shown: Search | None = None) -> None:
        """Look on, step by step.

        Args:
            shown: The search of which this one is the successor.
        """
        wanted, limit, cursor = key
        loop = asyncio.get_running_loop()
        begun = loop.time()
        position: str | None = search.cursor or cursor or None
        while loop.time() - (shown or search).asked < ABANDONED:
            async with self._turn:
                await self._read.ended(COURTESY)
                step = loop.time()
                try:
                    connection = await self._broker.connection()
                    left = limit - len(search.jobs)
                    page = await list_jobs(connection, wanted, left, position, STEP_ENTRIES, STEP_SECONDS, self._read.mask)
                except NaqError as error:
                    search.error = str(error)
                    break
                search.jobs += page.jobs
                search.scanned += page.scanned
                search.cursor = position = page.cursor
                search.took = loop.time() - begun
                if search.is_over:
                    break
                if shown is None:
                    self._changed()
                await asyncio.sleep(loop.time() - step)
        self._changed()


def names_one(wanted: JobFilter, page: JobPage) -> bool:
    """Whether the search words are the id of a job that was found: who types an id looks for that job."""
    return bool(wanted.text) and any(each.job_id == wanted.text for each in page.jobs)
