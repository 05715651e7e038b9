"""Documents of every kind, damaged, while everything runs: nothing stops, spins or answers with an error of its own."""

from __future__ import annotations

import asyncio
import os
import pathlib
import random
import re
import time
from dataclasses import dataclass, field

import httpx
import pytest

from naq_client import Queue, chain
from naq_core import Settings
from naq_core.audit import Actor, recorded
from naq_core.manage import set_queue_limit
from naq_core.server import EmbeddedServer
from naq_core.storage.connection import Connection
from naq_core.unreadable import find_unreadable, remove_unreadable
from tests.cli.zygote import ZYGOTE
from tests.support import jobs
from tests.support.documents import FIXED, MARKER, ODD_KEYS, Document, planned, plant, real_documents
from tests.support.eventually import eventually
from tests.support.processes import Fleet, WorkerProcess, environment

SEED = int(os.environ.get("NAQ_FUZZ_SEED") or time.time_ns() % 10**9)
PAGES = [
    *("/", "/jobs", "/jobs/seed-0", "/queues", "/queues/default", "/schedules", "/schedules/fuzzed", "/workers", "/workflows"),
    *("/errors", "/delayed", "/events", "/audit", "/metrics", "/api/jobs", "/api/jobs/seed-0", "/api/queues", "/api/workers"),
    *("/api/schedules", "/api/workflows", "/api/overview", "/api/errors", "/api/audit", "/api/metrics/series"),
]
COMMANDS = ["job list", "job show seed-0", "queue list", "workers", "schedule list", "workflow list", "audit", "stats", "doctor"]
IDLE = 3.0
MOST_CPU = 0.8
"""Share of a processor that a process may use while nothing happens."""


OF_A_JOB = re.compile(r"^\S+ \w+ naq_worker\.jobs: .*\n(?:(?!\d{4}-\d\d-\d\dT).*\n)*", re.MULTILINE)
"""A log line about an attempt, with its traceback."""


@dataclass
class Scene:
    """Everything that runs, and what was seen to be wrong."""

    settings: Settings
    server: EmbeddedServer
    fleet: Fleet
    url: str
    connection: Connection
    seeds: list[Document]
    faults: list[str] = field(default_factory=list)

    @property
    def prefixes(self) -> list[bytes]:
        """What the subjects of each kind begin with."""
        names = self.connection.names
        texts = (names.jobs, f"{names.jobs}.held", names.edges, names.results, names.workers, names.queues, names.schedules)
        more = (names.leases, names.workflows, names.metrics, names.audit, f"{names.namespace}.control")
        return [text.encode() for text in (*texts, *more)]

    async def look(self) -> None:
        """Ask every page and every command."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as client:
            for page in PAGES:
                answer = await client.get(
                    page, headers={"Accept": "application/json" if page.startswith("/api") else "text/html"}
                )
                if answer.status_code >= 500:
                    self.faults.append(f"{page}: {answer.status_code} {answer.text[-300:]}")
        for command in COMMANDS:
            done = await asyncio.to_thread(ZYGOTE.run, tuple(command.split()), environment(self.settings), None)
            output = done.stdout + done.stderr
            if "bug in NAQ" in output or "Traceback" in output:
                self.faults.append(f"naq {command}: {output[-500:]}")

    def check_processes(self) -> None:
        """Note who has ended, or met an error of its own."""
        for each in self.fleet.workers:
            output = each.output()
            if not each.is_alive:
                self.faults.append(f"{each.log.name} has ended: {output[-1500:]}")
            own = OF_A_JOB.sub("", output)  # a job may fail where the record of its parent was damaged
            if "Traceback" in own:
                self.faults.append(f"{each.log.name}: {own[max(0, own.index('Traceback') - 300) :][:1500]}")


def cpu_seconds(process: WorkerProcess) -> float:
    """Return the processor time that a process has used."""
    with pathlib.Path(f"/proc/{process.pid}/stat").open() as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def prepare(settings: Settings, server: EmbeddedServer, fleet: Fleet, connection: Connection) -> Scene:
    """Start everything, and let there be a real document of each kind."""
    workers = [fleet.start(), fleet.start()]
    fleet.start_scheduler()
    dashboard = fleet.start_dashboard()
    async with Queue("default", settings=settings) as queue:
        seeds = [await queue.options(job_id=f"seed-{number}").enqueue(jobs.work) for number in range(3)]
        for each in seeds:
            await each.result(timeout=60)
        await queue.options(job_id="seed-later", delay=3600).enqueue(jobs.work)
        await queue.options(job_id="seed-after", depends_on=await queue.options(delay=3600).enqueue(jobs.work)).enqueue(jobs.work)
        await queue.schedule(jobs.work, interval=3600, schedule_id="fuzzed")
        await chain(queue.s(jobs.work), queue.s(jobs.work)).enqueue(queue=queue)
    await set_queue_limit(connection, "default", 50)
    async with recorded(connection, Actor("fuzz", "test"), "cancel-job", "seed-0"):
        pass
    found = await real_documents(connection)
    names = connection.names
    present = [each.subject.decode().rpartition(".")[2] for each in found if each.subject.startswith(names.workers.encode())]
    found += [Document(names.control(each).encode(), b'{"verb":"resume"}') for each in present]
    assert len(workers) == 2

    async def address() -> str:
        match = re.search(r"http://[\d.]+:\d+", dashboard.output())
        assert match, dashboard.output()
        return match[0]

    await eventually(address, 60)
    return Scene(settings, server, fleet, await address(), connection, found)


async def run(scene: Scene, rounds: int, documents: int, seed: int) -> int:
    """Plant documents in rounds, let good jobs run meanwhile, look at everything; return how many good jobs have finished."""
    rng = random.Random(seed)
    good = 0
    for _ in range(rounds):
        await plant(scene.server.port, list(planned(scene.seeds, scene.prefixes, documents, rng)))
        async with Queue("default", settings=scene.settings) as queue:
            wanted = [await queue.enqueue(jobs.work) for _ in range(10)]
            await scene.look()
            for job in wanted:
                await job.result(timeout=60)
        good += len(wanted)
        scene.check_processes()
        assert not scene.faults, f"seed {seed}:\n" + "\n".join(dict.fromkeys(scene.faults))
    before = [cpu_seconds(each) for each in scene.fleet.alive()]
    await asyncio.sleep(IDLE)
    used = {each.log.name: cpu_seconds(each) - was for each, was in zip(scene.fleet.alive(), before, strict=True)}
    assert max(used.values()) < MOST_CPU * IDLE, f"seed {seed}: {used}"
    return good


@pytest.mark.timeout(240)
async def test_damaged_documents_of_every_kind_stop_nothing(
    settings: Settings, nats_server: EmbeddedServer, fleet: Fleet
) -> None:
    print(f"NAQ_FUZZ_SEED={SEED}")
    async with Connection(settings, name="fuzz") as connection:
        scene = await prepare(settings, nats_server, fleet, connection)
        await run(scene, 1, 250, SEED)


@pytest.mark.timeout(240)
async def test_each_fixed_fault_in_each_place_is_survived_named_and_removed(
    settings: Settings, nats_server: EmbeddedServer, fleet: Fleet
) -> None:
    async with Connection(settings, name="fuzz") as connection:
        scene = await prepare(settings, nats_server, fleet, connection)
        rng = random.Random(1)
        odd = [Document(prefix + b"." + key, b"x") for prefix in scene.prefixes for key in ODD_KEYS]
        markers = [each._replace(body=b"", headers=MARKER % b"DEL") for each in scene.seeds]
        whole = [each._replace(body=body) for each in scene.seeds for body in rng.sample(FIXED, 3)]
        await plant(nats_server.port, [*odd, *markers, *whole])
        await run(scene, 1, 1, 1)
        found = await find_unreadable(connection)
        assert {each.kind for each in found} >= {"job", "queue", "workflow", "presence", "schedule"}
        assert await remove_unreadable(connection, found) > 0
        left = {each.key for each in await find_unreadable(connection) if each in found}
        assert not [key for key in left if not set(key) & set("*>\N{REPLACEMENT CHARACTER}")]


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_damaged_documents_for_a_long_time(settings: Settings, nats_server: EmbeddedServer, fleet: Fleet) -> None:
    rounds, documents = int(os.environ.get("NAQ_FUZZ_ROUNDS", "40")), 400
    print(f"NAQ_FUZZ_SEED={SEED}")
    async with Connection(settings, name="fuzz") as connection:
        scene = await prepare(settings, nats_server, fleet, connection)
        good = await run(scene, rounds, documents, SEED)
    print(f"{rounds * documents} documents, {len(fleet.workers)} processes, {good} good jobs finished, 0 faults")
