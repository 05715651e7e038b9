"""NAQ's wire format from JavaScript: the programs of `examples/javascript`, with the npm packages of NATS."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest
import pytest_asyncio

from naq_client import Queue, gather
from naq_core import JobFailedError, JobStateError, transitions
from naq_core.connection import Connection
from naq_core.envelope import NO_OPTIONS
from naq_core.inspect import get_job, list_jobs
from naq_core.manage import retry_job
from naq_core.record import JobRecord, JobState
from naq_core.storage.records import find_job, write_record
from naq_core.storage.topology import ensure_queue
from naq_core.testing import WorkerRunner
from tests.support import shared_queue
from tests.support.eventually import eventually

EXAMPLE = Path(__file__).parent.parent / "examples" / "javascript"
BOTH = """
import { appendFileSync } from "node:fs";
import { connect } from "@nats-io/transport-node";
import { Worker } from "./worker.mjs";

const functions = {
  "tests.support.shared_queue:note": async (folder, seconds, { id }) => {
    appendFileSync(`${folder}/${id}`, "javascript\\n");
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    return "javascript";
  },
  "js:fail": () => { throw new RangeError("no bread"); },
};
const connection = await connect({ servers: process.env.NAQ_NATS_URL });
const settings = { namespace: process.env.NAQ_NAMESPACE, heartbeat: 0.3, workerTtl: 1 };
const worker = new Worker(connection, "default", functions, settings);
process.on("SIGTERM", () => worker.stop(0));
console.log("ready");
await worker.run();
process.exit();
"""
FOREIGN = """
import { connect } from "@nats-io/transport-node";
import { Client } from "./client.mjs";

const connection = await connect({ servers: process.env.NAQ_NATS_URL });
const client = await Client.open(connection, process.env.NAQ_NAMESPACE);
console.log(await client.result(await client.enqueue("operator:mul", [6, 7], {}, { max_retries: 1, retry_delay: [1, 2] })));
process.exit();
"""
CANCEL = """
import { connect } from "@nats-io/transport-node";
import { Client } from "./client.mjs";

const connection = await connect({ servers: process.env.NAQ_NATS_URL });
const client = await Client.open(connection, process.env.NAQ_NAMESPACE);
for (const id of ["ready", "delayed", "watched", "ready"]) console.log(await client.cancel(id, { reason: "no" }));
process.exit();
"""
pytestmark = pytest.mark.naq(
    job_serializer="json",
    allowed_functions=("operator:mul", "tests.support.shared_queue:*"),
    ack_wait=timedelta(seconds=1.5),
    worker_ttl=timedelta(seconds=1),
    heartbeat_interval=timedelta(seconds=0.3),
)
"""Arguments and results as JSON, and leases that tests can wait for."""
RunNode: TypeAlias = Callable[..., AbstractAsyncContextManager[asyncio.subprocess.Process]]


def _missing(reason: str) -> None:
    """Skip where a machine has no Node.js; where CI says that it has to be there, fail."""
    (pytest.fail if os.environ.get("NAQ_TEST_JAVASCRIPT") == "required" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Install the npm packages of the example, once for each state of its lock file, outside of the repository."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        _missing("Node.js 20 or newer, with npm, runs the example in JavaScript: it is not on the PATH")
    lock = (EXAMPLE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "naq-tests"
    folder = cache / f"javascript-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # other processes of the run want them too
        if not (folder / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(EXAMPLE / name, folder)
            command = [str(npm), "ci", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
            if done.returncode != 0:
                pytest.fail(f"npm cannot install the packages of {EXAMPLE}; is the registry reachable?\n{done.stderr[-2000:]}")
            (folder / "complete").touch()
    return folder / "node_modules"


@pytest_asyncio.fixture
async def node(node_modules: Path, naq_connection: Connection, tmp_path: Path) -> RunNode:
    """Give an async context manager that runs a program beside the modules of the example, until the block ends."""
    settings = naq_connection.settings
    await ensure_queue(naq_connection, "default")
    folder = tmp_path / "javascript"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(node_modules)
    environment = {**os.environ, "NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}

    @asynccontextmanager
    async def run(name: str, text: str = "", *, ready: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
        if text:
            (folder / name).write_text(text, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            "node", name, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdout is not None
        try:
            printed = ""
            while ready not in printed:
                line = (await process.stdout.readline()).decode()
                assert line, f"{name} ended: {printed}"
                printed += line
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()

    return run


async def output(process: asyncio.subprocess.Process) -> str:
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_the_example_enqueues_awaits_and_cancels(node: RunNode, queue: Queue) -> None:
    async with node("work.mjs", ready="takes jobs") as worker:
        async with node("produce.mjs") as producer:
            printed = await output(producer)
        assert printed.splitlines() == [
            "price: 42",
            "Good morning, Ada!",
            "one job: true its result: 7",
            "a second later: 14",
            "cancelled while it runs: true",
            printed.splitlines()[5],
            "cancelled before its time: true and again: false",
            "true dead",
        ]
        assert "is cancelled: nobody is hungry" in printed
        job = await queue.options(max_retries=2).enqueue("shop:fetch", "a page")
        assert await job.result(timeout=20) == "a page came at attempt 3"
        worker.terminate()
        assert "Traceback" not in await output(worker)


async def test_a_python_worker_runs_what_javascript_enqueues(node: RunNode, queue: Queue, naq_worker: WorkerRunner) -> None:
    async with naq_worker.running(), node("foreign.mjs", FOREIGN) as producer:
        assert (await output(producer)).strip() == "42"


async def test_workers_of_both_kinds_share_a_queue_and_double_nothing(
    node: RunNode, queue: Queue, naq_worker: WorkerRunner, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    async with node("both.mjs", BOTH, ready="ready") as worker, naq_worker.running(concurrency=1):
        jobs = [await queue.enqueue(shared_queue.note, str(notes), 0.01) for _ in range(40)]
        results = Counter([await job.result(timeout=30) for job in jobs])
        assert set(results) == {"python", "javascript"}, results
        assert Counter((notes / job.job_id).read_text().strip() for job in jobs) == results

        # One that waits for a job in JavaScript is released by the Python worker, which gets the message after the end.
        child = await queue.options(depends_on=[jobs[-1]]).enqueue(shared_queue.note, str(notes), 0)
        assert await child.result(timeout=30) in {"python", "javascript"}

        long = [await queue.enqueue(shared_queue.note, str(notes), 4.0) for _ in range(2)]
        await eventually(lambda: all((notes / each.job_id).exists() for each in long))
        mine = next(each for each in long if (notes / each.job_id).read_text() == "javascript\n")
        worker.kill()
        assert await mine.result(timeout=60) == "python"
        assert (notes / mine.job_id).read_text().split() == ["javascript", "python"]
        view = await get_job(await queue.connection(), mine.job_id)
        assert (view.attempt, view.crashes, [each.type for each in view.errors]) == (2, 1, ["WorkerLost"])


async def test_a_worker_in_javascript_takes_over_fails_and_hands_back(
    node: RunNode, queue: Queue, naq_worker: WorkerRunner, tmp_path: Path
) -> None:
    connection = await queue.connection()
    lost = await queue.enqueue(shared_queue.note, str(tmp_path), 0)
    record = transitions.unclaimed(lost.job_id, "default", "tests.support.shared_queue:note", options=NO_OPTIONS)
    claimed: JobRecord = msgspec.structs.replace(record, state=JobState.RUNNING, attempt=1, worker="gone-1", started_at=1.0)
    assert await write_record(connection, claimed, 0) is not None
    callbacks = await queue.options(on_success=[shared_queue.told]).enqueue(shared_queue.note, str(tmp_path), 0)
    failing = await queue.options(max_retries=1).enqueue("js:fail")
    async with node("both.mjs", BOTH, ready="ready"):
        assert await lost.result(timeout=20) == "javascript"
        view = await get_job(connection, lost.job_id)
        assert (view.attempt, view.crashes, [each.type for each in view.errors]) == (2, 1, ["WorkerLost"])
        for errors in (2, 4):  # a dead job is kept whole, and can be retried
            with pytest.raises(JobFailedError, match="RangeError: no bread"):
                await failing.result(timeout=20)
            view = await get_job(connection, failing.job_id)
            assert (view.attempt, len(view.errors)) == (2, errors)
            if errors == 2:
                await eventually(lambda: is_retried(connection, failing.job_id))
        assert await callbacks.result(timeout=20) == "javascript"
    async with naq_worker.running():  # finishes what JavaScript left: the callback
        await eventually(lambda: has_run(connection, "tests.support.shared_queue:told"))


async def test_a_job_that_javascript_cancels_leaves_its_queue_and_is_not_begun(
    node: RunNode, queue: Queue, naq_worker: WorkerRunner, tmp_path: Path
) -> None:
    """Workers begin new jobs of Python's before they read the record."""
    connection = await queue.connection()
    told, note = "tests.support.shared_queue:told", shared_queue.note
    before = [await queue.enqueue(note, str(tmp_path), 0) for _ in range(20)]  # its first job a worker claims before it runs
    await queue.options(job_id="delayed", delay=3600).enqueue(note, str(tmp_path), 0)
    marked = [await queue.enqueue(note, str(tmp_path), 0) for _ in range(2)]
    watched = queue.options(on_failure=[told])
    marked.append(await watched.enqueue(note, str(tmp_path), 0))
    cancel = CANCEL.replace('"ready"', f'"{marked[0].job_id}"').replace('"watched"', f'"{marked[2].job_id}"')
    async with node("cancel.mjs", cancel) as canceller:
        assert (await output(canceller)).split() == ["true", "true", "true", "false"]
    for job_id in ("delayed", marked[0].job_id):
        message = await find_job(connection, job_id, "default")
        assert message is not None
        assert ".kept." in message.subject
    async with naq_worker.running(concurrency=1):
        await gather(*before, marked[1], timeout=30)
        await eventually(lambda: has_run(connection, told, JobState.DEAD))  # it is called, and asks for a result
    assert [job.job_id for job in marked if (tmp_path / job.job_id).exists()] == [marked[1].job_id]
    await retry_job(connection, "delayed")  # it was kept whole
    async with naq_worker.running():
        assert await (await queue.job("delayed")).result(timeout=20) == "python"


async def is_retried(connection: Connection, job_id: str) -> bool:
    """Retry a dead job; False while its message is not archived yet, which comes after its end."""
    try:
        await retry_job(connection, job_id)
    except JobStateError:
        return False
    return True


async def has_run(connection: Connection, function: str, state: JobState = JobState.SUCCEEDED) -> bool:
    page = await list_jobs(connection)
    return any(each.function == function and each.state is state for each in page.jobs)
