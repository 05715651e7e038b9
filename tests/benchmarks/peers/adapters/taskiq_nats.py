"""taskiq on NATS JetStream."""

import sys
from pathlib import Path
from typing import Any

from taskiq_nats import NATSObjectStoreResultBackend, PullBasedJetStreamBroker

from naq_cli.bench import jobs
from tests.benchmarks.peers.peer import CONCURRENCY, HAS_RESULTS, PATIENCE, URL, Peer

# With shorter fetches, such as 50 ms, jobs that arrive after the end of one come again only after 30 s.
broker = PullBasedJetStreamBroker(URL, durable="taskiq", pull_consume_batch=100, pull_consume_timeout=1)
if HAS_RESULTS:
    broker = broker.with_result_backend(NATSObjectStoreResultBackend(URL))
TASKS = {name: broker.task(task_name=name)(getattr(jobs, name)) for name in ("noop", "sleep")}


class Adapter(Peer):
    """Pull-based broker in batches of 100, results in the object store, uvloop."""

    store = "nats"
    packages = ("taskiq", "taskiq-nats", "nats-py", "uvloop")
    hides = (
        "Jobs and results are in JetStream's files, synced every two minutes by default. No bulk enqueue: 100 at a time. The"
        " worker prefetches 100 jobs. A waiter asks for the result every 5 ms, instead of the default 200 ms."
    )

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def enqueue(self, task: str, slot: int) -> Any:
        return await TASKS[task].kiq(slot)

    async def wait(self, handle: Any) -> Any:
        return (await handle.wait_result(check_interval=0.005, timeout=PATIENCE)).return_value

    def worker(self) -> list[str]:
        program = Path(sys.executable).with_name("taskiq")
        options = ["--workers=1", f"--max-async-tasks={CONCURRENCY}", f"--max-prefetch={CONCURRENCY}", "--log-level=WARNING"]
        return [str(program), "worker", f"{__name__}:broker", *options]
