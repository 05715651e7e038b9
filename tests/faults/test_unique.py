"""Jobs of a unique key while their workers and the server are killed: one at a time, and none lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from naq_client import Queue
from naq_core import DuplicateJobError, Job, JobState, Settings
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import Event, History
from tests.support.processes import Fleet

AT_ONCE = 500
"""Results that are waited for together."""


def overlaps(events: Iterable[Event]) -> list[tuple[Event, Event]]:
    """Return the starts that came while another run of the same job went on in a process that lived."""
    running: dict[int, Event] = {}
    found: list[tuple[Event, Event]] = []
    for event in events:
        worker = event.fields["worker"]
        if event.kind == "start":
            found += [(other, event) for pid, other in running.items() if pid != worker]
            running[worker] = event
        else:  # its end, or the death of its worker
            running.pop(worker, None)
    return found


async def _ask(queue: Queue, accepted: list[Job[int]], until: asyncio.Event, rng: random.Random) -> None:
    """Enqueue the same key again and again, as a producer does that does not know of the others."""
    while not until.is_set():
        try:
            options = queue.options(unique="only", on_clash=rng.choice(["refuse", "replace"]))
            accepted.append(await options.enqueue(jobs.work, rng.uniform(0.01, 0.1)))
        except DuplicateJobError:
            await asyncio.sleep(0.01)


@short_and_long(3, 25)
async def test_a_unique_job_runs_in_one_place_at_a_time_though_workers_are_killed(
    form: int, fleet: Fleet, history: History, settings: Settings
) -> None:
    rng = random.Random(7)
    for _ in range(2):
        fleet.start()
    accepted: list[Job[int]] = []
    enough = asyncio.Event()
    async with Queue("default", settings=settings) as queue, asyncio.TaskGroup() as producers:
        for _ in range(3):
            producers.create_task(_ask(queue, accepted, enough, rng))
        for _ in range(form):
            begun = len(history.events("start"))

            def goes_on(begun: int = begun) -> None:
                assert len(history.events("start")) > begun + 3, fleet.outputs()

            await eventually(goes_on, 20)
            rng.choice(fleet.alive()).kill(history)
            fleet.start()
        enough.set()

    async with Queue("default", settings=settings) as queue:
        last = await queue.options(unique="only", on_clash="return").enqueue(jobs.work)
        await last.result(30)
        assert await last.status() == JobState.SUCCEEDED
    events = [event for event in history.events() if event.kind in {"start", "end"} or event.fields.get("name") == "kill"]
    assert len(accepted) > form
    assert overlaps(events) == []


@short_and_long((200, 2), (20_000, 10))
async def test_delayed_jobs_survive_the_servers_kill_and_run_once_each(
    form: tuple[int, int], own_server: EmbeddedServer, own_fleet: Fleet, own_settings: Settings, history: History
) -> None:
    count, kills = form
    async with Queue("default", settings=own_settings) as queue:
        first = datetime.now(UTC) + timedelta(seconds=2 + count / 4000)
        spread = 3 + count / 2000
        delayed = await queue.enqueue_many(
            queue.options(at=first + timedelta(seconds=spread * n / count)).call(jobs.work) for n in range(count)
        )
        for _ in range(kills):
            own_server.kill()
            own_server.restart()
            await asyncio.sleep(spread / kills / 2)
        own_fleet.start()
        for start in range(0, count, AT_ONCE):
            await asyncio.gather(*(job.result(120) for job in delayed[start : start + AT_ONCE]))
    starts = history.events("start")
    assert len({event.job for event in starts}) == count
    # A kill of the server alone makes no job run twice: its claim and its end are on record.
    assert len(starts) == count
