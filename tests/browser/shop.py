"""A shop with something of everything that somebody on call is asked about, on a real server with a real worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from naq_client import Queue, Workflow
from naq_core.inspect import get_job
from naq_core.record import JobState
from naq_core.settings import Settings
from tests.browser.conftest import dashboard, program
from tests.browser.hand import Way
from tests.integration import work
from tests.support.eventually import eventually

__all__ = ["Shop", "opened"]

T = TypeVar("T")
BULK = 3
"""Jobs that are cancelled together."""


class Shop:
    """The address of its dashboard, and what its server says, which a page has to agree with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.address = ""
        self.queue: Queue
        self._loop = asyncio.new_event_loop()

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Keep a connection in a thread: Playwright has a running loop in ours."""
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            self._run(self._connect())
            yield
        finally:
            self._run(self.queue.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _connect(self) -> None:
        self.queue = await Queue("shop", settings=self.settings).__aenter__()

    def _run(self, doing: Awaitable[T]) -> T:
        async def run() -> T:
            return await doing

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=90)

    def ask(self, question: Callable[..., Awaitable[T]], *about: Any) -> T:
        """Ask the server, by a function of naq_core."""

        async def answer() -> T:
            return await question(await self.queue.connection(), *about)

        return self._run(answer())

    def comes_true(self, question: Callable[..., Awaitable[T]], *about: Any, where: Callable[[T], bool]) -> None:
        """Wait until the server's answer is as wanted."""

        async def is_so() -> None:
            found = await question(await self.queue.connection(), *about)
            assert where(found), found

        self._run(eventually(is_so))

    def becomes(self, job_id: str, state: JobState) -> None:
        """Wait until a job has that state on the server."""
        self.comes_true(get_job, job_id, where=lambda job: job.state is state)

    def post(self, path: str, **body: Any) -> None:
        """Act by the API, as a colleague would."""
        request = urllib.request.Request(
            f"{self.address}/api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30):
            pass

    def fill(self, paid: str) -> None:
        """Enqueue everything; jobs whose payment failed succeed once the file `paid` is there."""
        self._run(self._fill(paid))

    async def _fill(self, paid: str) -> None:
        at = self.queue.options
        connection = await self.queue.connection()
        await Queue("behind", connection=connection).enqueue(work.add, 1, 1)
        first = await at(job_id="run-first").enqueue(work.sleep, 600)
        for way in Way:
            await at(job_id=f"run-{way}").enqueue(work.sleep, 600)
            for number in range(2):
                await at(job_id=f"pay-{way}-{number}", max_retries=0, tags=[way]).enqueue(work.fail_for, way, paid)
            await Queue(f"stop-{way}", connection=connection).enqueue(work.add, 1, 1)
            flood = Queue(f"flood-{way}", connection=connection)
            for number in range(BULK):
                await flood.options(job_id=f"flood-{way}-{number}").enqueue(work.add, number)
            await self.queue.schedule(work.add, 1, cron="0 3 * * *", schedule_id=f"nightly-{way}")
        await self.queue.schedule(work.add, 1, cron="0 3 * * mon", schedule_id="weekly")
        await at(job_id="order").enqueue(work.anything, customer=4711)
        workflow = Workflow("warehouse", workflow_id="warehouse")
        read = workflow.add(at(job_id="read").call(work.add, 1, 1))
        check = workflow.add(at(job_id="check", max_retries=0).call(work.fail, "17 rows are empty"), depends_on=[read])
        workflow.add(at(job_id="store").call(work.add, 1, 1), depends_on=[check])
        await workflow.enqueue(self.queue)

        for job_id in (*(f"pay-{way}-1" for way in Way), "check"):
            await self._becomes(job_id, JobState.DEAD)
        await self._becomes(first.job_id, JobState.RUNNING)
        await at(job_id="story", max_retries=1, retry_delay=0).enqueue(work.fail_twice)  # it is the newest failure
        await self._becomes("story", JobState.DEAD)

    async def _becomes(self, job_id: str, state: JobState) -> None:
        async def is_so() -> None:
            assert (await get_job(await self.queue.connection(), job_id)).state is state

        await eventually(is_so)


@contextlib.contextmanager
def opened(settings: Settings, paid: str) -> Iterator[Shop]:
    """Open the shop: a worker, a dashboard, and all its jobs."""
    shop = Shop(settings)
    worker = program("-m", "naq_worker", "shop", "-c", "12", settings=settings, ready="takes jobs from", NAQ_SHUTDOWN_GRACE="0.1")
    with shop.connected(), worker, dashboard(settings) as shop.address:
        shop.fill(paid)
        shop.post("deploys", version="v12")
        yield shop
