"""Who pays for a worker's death: the rule and the isolation of suspects, without a server."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Any, cast

import pytest

from naq_core.record import JobRecord, JobState
from naq_worker import _suspects
from naq_worker._active import Active
from naq_worker._suspects import Isolation, acquit, charge, is_condemned, window


class Plant:
    """Workers and jobs without time or server: in each step a worker begins what it may, or what it runs ends or kills it."""

    def __init__(self, seed: int, *, poison: int, good: int, workers: int, slots: int, max_crashes: int) -> None:
        self.rng = random.Random(seed)
        self.slots = slots
        self.max_crashes = max_crashes
        jobs = [JobRecord(JobState.QUEUED, f"poison-{n}", "q") for n in range(poison)]
        jobs += [JobRecord(JobState.QUEUED, f"good-{n}", "q") for n in range(good)]
        self.rng.shuffle(jobs)
        self.jobs = {job.job_id: job for job in jobs}
        self.waiting = deque(jobs)
        self.workers: list[list[JobRecord]] = [[] for _ in range(workers)]
        self.deaths_under: dict[str, int] = dict.fromkeys(self.jobs, 0)
        self.deaths = 0

    def step(self) -> None:
        worker = self.rng.choice(self.workers)
        if self.waiting and self.rng.random() < 0.6:
            self.begin(worker, self.waiting.popleft())
        elif worker:
            self.end(worker, self.rng.choice(worker))

    def begin(self, worker: list[JobRecord], job: JobRecord) -> None:
        is_taken = any(each.alone for each in worker) or len(worker) >= self.slots
        if is_taken or (job.suspect and worker):
            self.waiting.append(job)
            return
        job.state, job.alone = JobState.RUNNING, job.suspect
        worker.append(job)

    def end(self, worker: list[JobRecord], job: JobRecord) -> None:
        if job.job_id.startswith("poison"):
            self.die(worker)
        elif self.rng.random() < 0.3:  # an ordinary failure, and a retry
            worker.remove(job)
            acquit(job, self.max_crashes)
            self.waiting.append(job)
        else:
            worker.remove(job)
            job.state = JobState.SUCCEEDED

    def die(self, worker: list[JobRecord]) -> None:
        self.deaths += 1
        for job in worker:
            self.deaths_under[job.job_id] += 1
            charge(job)
            if is_condemned(job, self.max_crashes):
                job.state = JobState.DEAD
            else:
                self.waiting.append(job)
        worker.clear()

    def is_done(self) -> bool:
        return not self.waiting and not any(self.workers)


@pytest.mark.parametrize("seed", range(200))
def test_no_healthy_job_pays_and_a_poison_job_takes_few_workers_down(seed: int) -> None:
    rng = random.Random(seed)
    poison, max_crashes = rng.randint(1, 6), rng.randint(1, 5)
    plant = Plant(
        seed, poison=poison, good=rng.randint(0, 60), workers=rng.randint(1, 5), slots=rng.randint(1, 12), max_crashes=max_crashes
    )
    for _ in range(200_000):
        plant.step()
        if plant.is_done():
            break
    assert plant.is_done(), "it never comes to an end"
    for job_id, job in plant.jobs.items():
        expected = JobState.DEAD if job_id.startswith("poison") else JobState.SUCCEEDED
        assert job.state is expected, (job, plant.deaths_under[job_id])
    # At most one death of each is in company, since a suspect runs alone; it counts once the job dies alone.
    assert plant.deaths <= poison * max(2, max_crashes)


def a_job(*, alone: bool = False, **fields: Any) -> JobRecord:
    return JobRecord(JobState.RUNNING, "j", "q", alone=alone, **fields)


def test_a_job_that_nobody_disturbs_takes_as_many_workers_down_as_the_limit_says() -> None:
    job = a_job()
    for deaths in range(1, 4):
        charge(job)
        assert is_condemned(job, 3) == (deaths == 3)
        job.alone = True


def test_a_death_beside_others_is_never_counted_by_itself() -> None:
    job = a_job()
    for _ in range(100):
        charge(job)
    assert not is_condemned(job, 1)


def test_a_suspect_that_ends_an_attempt_runs_beside_others_again_but_not_without_limit() -> None:
    job = a_job()
    charge(job)
    acquit(job, 3)
    assert not job.suspect
    charge(job)
    charge(job)
    acquit(job, 3)
    assert job.suspect, "three workers have died under it"


def test_each_death_alone_makes_one_that_was_excused_count_too() -> None:
    job = a_job()
    for _ in range(3):
        charge(job)
    assert (job.crashes, job.excused, job.suspect, job.alone) == (3, 3, True, False)
    job.alone = True
    charge(job)
    assert (job.crashes, job.excused, job.alone) == (4, 2, False)


def test_a_suspect_whose_window_is_over_runs_beside_others() -> None:
    job = a_job(alone=True, suspect=True)
    acquit(job, 3)
    assert not job.alone


def test_the_window_doubles_so_that_a_slow_poison_is_caught_too() -> None:
    job = a_job()
    assert window(job) == 10
    windows = []
    for _ in range(12):
        charge(job)
        windows.append(window(job))
    assert windows[:3] == [10, 20, 40]
    assert windows[-1] > 3600


class Hands:
    """What a worker holds, and its isolation."""

    def __init__(self) -> None:
        self.held: list[Active] = []
        self.reopened = 0
        self.isolation = Isolation(lambda: len(self.held) <= 1, self._note)

    def _note(self) -> None:
        self.reopened += 1

    def take(self) -> Active:
        active = Active(cast("Any", None), 0.0)
        self.held.append(active)
        return active

    def drop(self, active: Active) -> None:
        self.held.remove(active)
        self.isolation.note_end(active)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_suspects, "PATIENCE", 0.02)


@pytest.fixture
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not woken up waits for ever."""
    monkeypatch.setattr(_suspects, "PATIENCE", 1e6)


async def test_a_suspect_gets_an_idle_worker_at_once_and_the_next_one_is_handed_back() -> None:
    hands = Hands()
    assert hands.isolation.is_open
    first = hands.take()
    assert await hands.isolation.enter(first)
    assert await hands.isolation.enter(first), "asking again changes nothing"
    assert not hands.isolation.is_open
    second = hands.take()
    assert not await hands.isolation.enter(second)
    hands.drop(second)
    hands.drop(first)
    assert hands.isolation.is_open
    assert hands.reopened == 1


@pytest.mark.usefixtures("endless_patience")
async def test_a_suspect_waits_for_its_neighbours_and_nothing_begins_meanwhile() -> None:
    hands = Hands()
    neighbours, suspect = [hands.take(), hands.take()], hands.take()
    entering = asyncio.ensure_future(hands.isolation.enter(suspect))
    for neighbour in neighbours:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not hands.isolation.is_open
        assert not entering.done()
        hands.drop(neighbour)
    assert await entering
    assert not hands.isolation.is_open


@pytest.mark.usefixtures("patience")
async def test_a_long_neighbour_does_not_keep_the_worker_closed() -> None:
    hands = Hands()
    _, suspect = hands.take(), hands.take()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert not await hands.isolation.enter(suspect)
    assert hands.isolation.is_open
    hands.held.remove(suspect)
    turn_of_others = hands.isolation._not_before
    assert turn_of_others >= begun + 2 * 0.02 - 0.001, "as long as the first attempt"
    assert not await hands.isolation.enter(hands.take())
    assert hands.isolation._since >= turn_of_others - 0.001, "others have their turn first"
    assert loop.time() - hands.isolation._since >= 0.04 - 0.001, "twice as patient"
    assert hands.isolation._patience == 4 * 0.02


async def test_a_worker_that_becomes_free_for_a_suspect_is_as_patient_as_before() -> None:
    hands = Hands()
    hands.isolation._patience = 1e6
    assert await hands.isolation.enter(hands.take())
    assert hands.isolation._patience == _suspects.PATIENCE


@pytest.mark.usefixtures("endless_patience")
@pytest.mark.parametrize("is_free", [False, True])
async def test_a_stop_hands_a_waiting_suspect_back(*, is_free: bool) -> None:
    hands = Hands()
    neighbour, suspect = hands.take(), hands.take()
    entering = asyncio.ensure_future(hands.isolation.enter(suspect))
    await asyncio.sleep(0)
    if is_free:
        hands.drop(neighbour)
    hands.isolation.stop()
    assert not await entering
    assert hands.isolation.is_open
    assert not await hands.isolation.enter(suspect)


async def test_others_begin_beside_a_long_suspect_only_when_that_is_on_record() -> None:
    hands = Hands()
    suspect = hands.take()
    assert await hands.isolation.enter(suspect)
    recorded: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    hands.isolation.share_after(suspect, 0.0, recorded.set_result)
    then = await recorded
    assert not hands.isolation.is_open
    then()
    assert hands.isolation.is_open
    hands.drop(suspect)
    assert hands.reopened == 1


@pytest.mark.usefixtures("endless_patience")
async def test_a_suspect_that_is_cancelled_while_it_waits_leaves_the_worker_to_others() -> None:
    hands = Hands()
    neighbour, suspect = hands.take(), hands.take()
    entering = asyncio.ensure_future(hands.isolation.enter(suspect))
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert hands.isolation.is_open
    hands.isolation._not_before = 0.0
    hands.held.remove(neighbour)
    hands.drop(suspect)
    assert await hands.isolation.enter(hands.take())


async def test_a_suspect_that_ends_in_time_is_not_shared() -> None:
    hands = Hands()
    suspect = hands.take()
    assert await hands.isolation.enter(suspect)
    recorded: list[Any] = []
    hands.isolation.share_after(suspect, 0.0, recorded.append)
    hands.drop(suspect)
    for _ in range(3):
        await asyncio.sleep(0)
    assert recorded == []
    again = hands.take()
    hands.isolation._not_before = 0.0
    assert await hands.isolation.enter(again), "the next one is not taken for the last one"
    hands.drop(again)


async def test_after_a_suspect_others_have_the_worker_for_as_long_as_they_could_not() -> None:
    hands = Hands()
    suspect = hands.take()
    before = asyncio.get_running_loop().time()
    assert await hands.isolation.enter(suspect)
    hands.isolation._since = before - 100
    hands.drop(suspect)
    assert hands.isolation._not_before >= before + 100
