"""What an enqueue accepts runs, and what could never run is refused before anything is stored."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from naq_client import Queue, Workflow, as_completed, gather, results_of, task
from naq_core import ConfigurationError, Connection, EncodeError, Settings, inspect, manage
from naq_core.errors import InvalidNameError, InvalidOptionError, InvalidScheduleError
from naq_core.testing import WorkerRunner
from naq_core.views import JobFilter
from naq_worker import Worker
from tests.integration import work


class Names(str, Enum):  # noqa: UP042 - a StrEnum is formatted as its value: that is the difference
    MAIL = "mail"
    HIGH = "high"
    JOB = "job-a"
    OTHER = "job-b"
    KEY = "key"
    RETURN = "return"
    EXPONENTIAL = "exponential"
    FUNCTION = "tests.integration.work:add"
    SCHEDULE = "sched"
    ZONE = "Europe/Berlin"
    CRON = "0 0 1 1 *"
    FLOW = "flow"
    DEAD = "dead"


@task(queue=Names.MAIL)
async def double(x: int) -> int:
    return 2 * x


async def test_members_of_an_enum_mean_their_values_wherever_a_name_is_taken(
    naq_connection: Connection, settings: Settings
) -> None:
    async with Queue(Names.MAIL, connection=naq_connection) as queue:
        jobs = [
            await queue.options(job_id=Names.JOB, priority=Names.HIGH, retry_strategy=Names.EXPONENTIAL).enqueue(work.add, 1, 2),  # type: ignore[arg-type]
            await queue.options(unique=Names.KEY, on_clash=Names.RETURN).enqueue(work.add, 2, 2),  # type: ignore[arg-type]
            await queue.enqueue(Names.FUNCTION, 3, 2),
            await queue.options(depends_on=Names.JOB).enqueue(work.add, 4, 2),
        ]
        workflow = Workflow(Names.FLOW, workflow_id=Names.FLOW)
        workflow.add(queue.s(work.add, 5, 2))
        handle = await workflow.enqueue(queue)
        await Worker([Names.MAIL], settings=settings, burst=True).run()

        assert await gather(*jobs, timeout=20) == [3, 4, 5, 6]
        assert await handle.result(20) == 7
        assert [job.job_id for job in jobs[:2]] == ["job-a", "unique=key"]
        assert (await inspect.get_job(naq_connection, Names.JOB, Names.MAIL)).job_id == "job-a"
        assert (await inspect.get_queue(naq_connection, Names.MAIL)).queue == "mail"
        found = await inspect.list_jobs(naq_connection, JobFilter(queue=Names.MAIL, function=Names.FUNCTION, workflow=Names.FLOW))
        assert [job.workflow for job in found.jobs] == ["flow"]
        assert (await inspect.get_workflow(naq_connection, Names.FLOW)).total == 1


async def test_a_task_whose_queue_is_a_member_runs(naq_connection: Connection, settings: Settings) -> None:
    job = await double.options(job_id=Names.OTHER).enqueue(4)
    await Worker({Names.MAIL: 2}, settings=settings, burst=True).run()
    assert (job.job_id, job.queue, await job.result(20)) == ("job-b", "mail", 8)


async def test_what_is_managed_by_a_member_is_what_its_value_names(naq_connection: Connection) -> None:
    async with Queue(Names.MAIL, connection=naq_connection) as queue:
        await queue.options(job_id=Names.JOB).enqueue(work.add, 1)
        await manage.pause_queue(naq_connection, Names.MAIL)
        assert await manage.is_queue_paused(naq_connection, "mail")
        await manage.set_queue_limit(naq_connection, Names.MAIL, 3)
        await manage.cancel_job(naq_connection, Names.JOB, Names.KEY, queue=Names.MAIL)
        assert (await inspect.get_job(naq_connection, "job-a")).reason == "key"
        schedule = await queue.schedule(
            Names.FUNCTION, 1, cron=Names.CRON, schedule_id=Names.SCHEDULE, timezone=Names.ZONE, overlap="skip"
        )
        view = schedule.view
        assert (view.schedule_id, view.timezone, view.cron, view.queue) == ("sched", "Europe/Berlin", "0 0 1 1 *", "mail")


def _enqueues(queue: Any) -> dict[str, Callable[[], Awaitable[Any]]]:
    soon = datetime.now(UTC) + timedelta(hours=1)
    late: Any = double
    naive = soon.replace(tzinfo=None)
    return {
        "no function": lambda: queue.enqueue("foo bar"),
        "a module alone": lambda: queue.enqueue("math"),
        "a local function": lambda: queue.enqueue("m:f.<locals>.g"),
        "a coroutine, not its function": lambda: queue.enqueue(7),
        "no time": lambda: queue.enqueue_at(None, work.add, 1),
        "no delay": lambda: queue.enqueue_in(None, work.add, 1),
        "no time for a task": lambda: late.enqueue_at(None, 1),
        "a naive time": lambda: queue.enqueue_at(naive, work.add, 1),
        "too many retries": lambda: queue.options(max_retries=10**30).enqueue(work.add, 1),
        "the word false": lambda: queue.options(process="false").enqueue(work.add, 1),
        "a name in a batch": lambda: queue.enqueue_many([queue.call(work.add, 1), queue.call("foo bar")]),
        "a name in a workflow": lambda: _workflow(queue).enqueue(queue),
        "a schedule of no function": lambda: queue.schedule("foo bar", cron="0 0 * * *"),
        "a schedule of no zone": lambda: queue.schedule(work.add, cron="0 0 * * *", timezone=["UTC"]),
        "a schedule without end": lambda: queue.schedule(work.add, interval=60, max_runs=10**30),
        "a schedule of a list": lambda: queue.schedule(work.add, cron=["0 0 * * *"]),
    }


def _workflow(queue: Queue) -> Workflow:
    workflow = Workflow(workflow_id="never")
    workflow.add(queue.call(work.add, 1))
    workflow.add(queue.call("foo bar"))
    return workflow


@pytest.mark.parametrize("what", list(_enqueues(None)))
async def test_what_can_never_run_is_refused_and_nothing_is_stored(what: str, queue: Queue) -> None:
    connection = await queue.connection()
    with pytest.raises((ConfigurationError, EncodeError, InvalidNameError, InvalidScheduleError)):
        await _enqueues(queue)[what]()
    assert (await inspect.list_jobs(connection)).jobs == []
    assert (await inspect.list_workflows(connection)).workflows == []


async def test_a_member_that_cannot_be_stored_is_not_added_to_a_workflow(queue: Queue, naq_worker: WorkerRunner) -> None:
    workflow = Workflow()
    workflow.add(queue.call(work.add, 1))
    handle = await workflow.enqueue(queue)
    with pytest.raises(EncodeError):
        await handle.add(queue.call("foo bar"))
    await naq_worker.run_until_idle()
    assert (await handle.wait(20)).total == 1  # and does not wait for one that never comes


LOOK: Any = inspect
CHANGE: Any = manage
QUESTIONS: dict[str, Callable[[Connection], Awaitable[Any]]] = {
    "limit of True": lambda c: LOOK.list_jobs(c, limit=True),
    "limit of 2.5": lambda c: LOOK.list_jobs(c, limit=2.5),
    "no number of seconds": lambda c: LOOK.list_jobs(c, max_seconds=float("nan")),
    "text for a set of states": lambda c: LOOK.list_jobs(c, JobFilter(states="dead")),  # type: ignore[arg-type]  # the point
    "naive time": lambda c: LOOK.list_jobs(c, JobFilter(since=datetime.now())),  # noqa: DTZ005 - the point
    "cursor of a number": lambda c: LOOK.list_jobs(c, cursor=7),
    "function of a number": lambda c: LOOK.count_jobs(c, JobFilter(function=7)),  # type: ignore[arg-type]  # the point
    "queue with a dot": lambda c: LOOK.get_job(c, "a", "b.c"),
    "timeout of nan": lambda c: LOOK.wait_for_job(c, "a", float("nan")),
    "limit of text": lambda c: LOOK.list_workflows(c, limit="5"),
    "queue limit of True": lambda c: CHANGE.set_queue_limit(c, "q", True),
    "queue limit too large": lambda c: CHANGE.set_queue_limit(c, "q", 10**30),
    "pause until 9999": lambda c: CHANGE.pause_queue(c, "q", datetime.max.replace(tzinfo=UTC)),
    "reason of a number": lambda c: CHANGE.cancel_job(c, "a", 7),
    "no time": lambda c: CHANGE.reschedule(c, "a", None),
    "list of actions": lambda c: CHANGE.bulk(c, ["retry"], JobFilter()),
}


@pytest.mark.parametrize("what", QUESTIONS)
async def test_questions_and_changes_refuse_values_of_the_wrong_kind(what: str, naq_connection: Connection) -> None:
    with pytest.raises((ConfigurationError, InvalidNameError)):
        await QUESTIONS[what](naq_connection)


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), -1, True, "5"])
async def test_nobody_waits_for_a_time_that_never_comes(timeout: Any, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1)
    with pytest.raises(ConfigurationError, match="timeout"):
        await job.result(timeout)
    with pytest.raises(ConfigurationError, match="timeout"):
        await gather(job, timeout=timeout)


def test_a_queue_without_its_name_is_refused() -> None:
    """`@task("mail")` decorated the text."""
    with pytest.raises(
        InvalidOptionError, match=r"^@task: decorates a function, not 'mail'; options have names: @task\(queue=…\)$"
    ):
        task("mail")  # type: ignore[call-overload]


NO_LISTS: dict[str, tuple[Callable[[Queue], Any], str]] = {
    "enqueue_many": (
        lambda queue: queue.enqueue_many(queue.call(work.add, 1)),  # type: ignore[arg-type]
        r"^jobs: takes a list of jobs made by .*, not <Job ",
    ),
    "gather": (lambda queue: gather([queue.call(work.add, 1)]), r"^jobs: takes enqueued jobs, not .*write gather\(\*jobs\)$"),  # type: ignore[call-overload]
    "as_completed": (
        lambda queue: anext(as_completed(queue.call(work.add, 1))),  # type: ignore[arg-type]
        "^jobs: takes a list of enqueued jobs, not <Job ",
    ),
    "results_of": (lambda queue: results_of(queue.call(work.add, 1)), "^results_of: takes a list of jobs, not <Job "),  # type: ignore[arg-type]
    "imports": (lambda _: Worker("mail", imports=3), "^imports: takes a list of modules, not 3$"),  # type: ignore[arg-type]
    "settings": (lambda _: Worker("mail", settings={"nats_password": "hush"}), "^settings .*: takes what .* not a dict$"),  # type: ignore[arg-type]
    "connection": (lambda _: Queue(connection="nats://a:hush@b"), "^connection: takes an open Connection, not a str; "),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("where", NO_LISTS)
async def test_an_argument_of_the_wrong_kind_is_refused_with_what_is_taken(queue: Queue, where: str) -> None:
    call, message = NO_LISTS[where]
    with pytest.raises(InvalidOptionError, match=message) as caught:
        await call(queue)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("wrong", [work.add, [3], ["shop.connect"], [Worker], b"shop:connect"])
def test_what_is_no_hook_is_refused(settings: Settings, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^hooks \(from argument\): (must be a list, not a|takes module:)"):
        Worker("mail", settings=settings, hooks=wrong)
