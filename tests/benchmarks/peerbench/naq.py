"""NAQ: enqueue_many, one worker process, uvloop; `fast=True` where results are off."""

import asyncio
import importlib
import sys
from collections.abc import Iterable
from typing import Any

import rec  # type: ignore[import-not-found]
from peers.base import CONC, NATS, RESULTS, Peer, use_uvloop  # type: ignore[import-not-found]


async def noop(i: int) -> Any:
    return await rec.anoop(i)


async def sleep(i: int) -> Any:
    return await rec.asleep(i)


TASKS = {"noop": noop, "sleep": sleep}


def run_worker() -> None:
    from naq_worker import Worker  # noqa: PLC0415 - the client's process does not need it

    use_uvloop()
    asyncio.run(Worker(["bench"], NATS, concurrency=CONC).run())


class P(Peer):  # type: ignore[misc]
    dists = ("nats-py", "msgspec", "cloudpickle", "uvloop")
    store = "nats"
    imports = "from naq_client import Queue"
    notes = "bulk: one enqueue_many; results off: fast=True (no claim, no record, at least once)"

    async def reset(self) -> None:
        nats = importlib.import_module("nats")
        client = await nats.connect(NATS)
        stream = client.jetstream()
        for each in await stream.streams_info():
            await stream.delete_stream(each.config.name)
        await client.close()

    async def open(self) -> None:
        from naq_client import Queue  # noqa: PLC0415 - the worker's process does not need it

        self.queue = Queue("bench", NATS)
        await self.queue.connection()
        self.enqueuer = self.queue if RESULTS else self.queue.options(fast=True)

    async def close(self) -> None:
        await self.queue.close()

    async def enqueue(self, task: str, i: int) -> Any:
        return await self.enqueuer.enqueue(TASKS[task], i)

    async def enqueue_in(self, task: str, i: int, delay: float) -> Any:
        return await self.enqueuer.enqueue_in(delay, TASKS[task], i)

    async def enqueue_many(self, task: str, idx: Iterable[int]) -> None:
        function = TASKS[task]
        await self.queue.enqueue_many([self.enqueuer.call(function, i) for i in idx])

    async def wait(self, job: Any) -> Any:
        return await job.result(10)

    def worker_cmds(self, procs: int) -> list[list[str]]:
        return [[sys.executable, "-c", "import peers.naq as m; m.run_worker()"]] * procs
