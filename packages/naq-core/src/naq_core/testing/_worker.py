"""Workers inside the test's process."""

import asyncio
import importlib
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from naq_core.connection import Connection
from naq_core.errors import ConfigurationError
from naq_core.settings import Settings
from naq_core.storage.subjects import state_of_subject
from naq_core.transport.streams import count_by_subject

log = logging.getLogger(__name__)

READY = frozenset({"high", "normal", "low"})


def sibling(name: str, package: str, what: str) -> Any:
    """Import one of NAQ's other packages, which a test may need and this one does not depend on.

    Raises:
        ConfigurationError: It is not installed; says how to.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name != name:
            raise
        raise ConfigurationError(what, f"needs {package}, which is not installed: pip install {package}") from error


class WorkerRunner:
    """Runs workers in this process, on whatever event loop calls; what the fixture `naq_worker` gives."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def run_until_idle(self, *queues: str, timeout: float = 30.0, **options: Any) -> int:
        """Run jobs until none is ready, and return how many attempts were made.

        Retries that are due within seconds and jobs that the jobs enqueue are run too; what is delayed or waits for other
        jobs is left.

        Args:
            queues: The queues; without any, all that have jobs.
            timeout: Seconds after which the test fails, as some job does not end.
            options: Of `naq_worker.Worker`, such as `concurrency`.

        Raises:
            TimeoutError: Not idle in time; what ran is handed back. ConfigurationError: naq-worker is not installed.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        done = 0
        async with Connection(self.settings, name="naq-test-worker") as connection:
            while True:
                ready = await _ready_queues(connection)
                names = sorted(ready & set(queues) if queues else ready)
                if not names:
                    return done
                worker = self._make(names, burst=True, **options)
                await _run_until(worker, deadline)
                if worker.counters.processed == 0:  # what is left is in other hands, such as the job that waits for this
                    return done
                done += worker.counters.processed

    @asynccontextmanager
    async def running(self, *queues: str, **options: Any) -> AsyncIterator[Any]:
        """Run a worker beside the test: `async with naq_worker.running("a", "b", concurrency=2) as worker: …`.

        The worker is stopped at the end; when it fails, the body is cancelled and the test fails with the worker's error.

        Args:
            queues: By default the queue `default`.
            options: Of `naq_worker.Worker`.
        """
        worker = self._make(list(queues) or ["default"], **options)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(), name="worker under test")
            try:
                yield worker
            finally:
                worker.stop()

    async def run_inline(self, queues: Collection[str]) -> None:
        """Run what has just been enqueued, before the enqueuer goes on."""
        log.debug("inline: %s", ", ".join(queues))
        await self.run_until_idle()

    def _make(self, queues: list[str], **options: Any) -> Any:
        options.setdefault("settings", self.settings)
        return sibling("naq_worker", "naq-worker", "naq_worker").Worker(queues, **options)


async def _run_until(worker: Any, deadline: float) -> None:
    async with asyncio.timeout_at(deadline):
        await worker.run()  # which hands its jobs back when it is cancelled


async def _ready_queues(connection: Connection) -> set[str]:
    names = connection.names
    places = map(state_of_subject, await count_by_subject(connection, names.jobs_stream, names.any_state("*", "*")))
    return {queue for state, queue, _ in places if state in READY}
