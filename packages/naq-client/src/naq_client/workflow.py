"""Workflows: jobs that are enqueued together, followed together, cancelled together."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Generic, Self, TypeVar, overload

from naq_client._blocking_loop import SyncJob, blocking_loop
from naq_client._shared import shared_queue
from naq_client.queue import Queue
from naq_client.signature import Chain, Group, Plan, Signature, Step, Tail, chain, chord, group
from naq_client.waiting import gather
from naq_core.context import current_job
from naq_core.dependency import DependsOn
from naq_core.enqueue.dependent import find_parents
from naq_core.enqueue.order import in_order
from naq_core.enqueue.submit import in_budget, send_many
from naq_core.enqueue.unique import check_many
from naq_core.enqueue.within import within
from naq_core.errors import InvalidOptionError, NaqError, WorkflowError, WorkflowNotFoundError
from naq_core.inspect import get_workflow
from naq_core.job import Job
from naq_core.manage import cancel_workflow, retry_workflow
from naq_core.names import check_workflow_id, is_signal, new_id
from naq_core.storage.connection import Connection
from naq_core.storage.workflows import Head, Member, add_members, read_workflow, write_head
from naq_core.values import patience, text
from naq_core.views import WorkflowView
from naq_core.wording import counted

R = TypeVar("R")


class Workflow:
    """Jobs with dependencies between them, to be enqueued together.

    ```
    workflow = Workflow("bread")
    dough = workflow.add(knead.s("rye"))
    oven = workflow.add(heat.s(230))
    workflow.add(bake.s(result_of(dough)), depends_on=oven)
    handle = await workflow.enqueue()
    ```

    Args:
        name: For people.
        workflow_id: An id of your own; by default a new one.
    """

    def __init__(self, name: str = "", *, workflow_id: str | None = None) -> None:
        self.workflow_id = new_id() if workflow_id is None else check_workflow_id(workflow_id)
        self.name = text(name, "name", most=1000)
        self.plan = Plan()
        self._token = new_id()

    def __repr__(self) -> str:
        return f"<Workflow {self.workflow_id} {self.name!r} of {counted(len(self.jobs), 'job')}>"

    @property
    def jobs(self) -> list[Job[Any]]:
        """The jobs so far."""
        return self.plan.jobs

    @overload
    def add(self, step: Signature[R] | Job[R], *, depends_on: DependsOn | None = None, allow_failure: bool = False) -> Job[R]: ...
    @overload
    def add(
        self, step: Chain[Any] | Group[Any], *, depends_on: DependsOn | None = None, allow_failure: bool = False
    ) -> list[Job[Any]]: ...
    def add(self, step: Any, *, depends_on: DependsOn | None = None, allow_failure: bool = False) -> Any:
        """Add a call, or a chain or group of them.

        Args:
            step: A signature (`task.s(…)`, `queue.s(function, …)`), a job (`queue.call(…)`), a chain or a group.
            depends_on: Jobs of this workflow, or others, that must have succeeded before.
            allow_failure: It is enough that they have ended.

        Returns:
            The job, not enqueued yet; of a chain or a group the jobs that end it.

        Raises:
            InvalidOptionError: Not a step, or `depends_on` names what is no job.
            WorkflowError: A job of the chain or group is there already.
        """
        if not isinstance(step, Step | Job):
            raise InvalidOptionError("step", f"{step!r} is not a signature, a job, a chain or a group")
        ends = self.plan.lay(step, depends_on, allow_failure=allow_failure)
        return ends.jobs[0] if isinstance(step, Signature | Job) else ends.jobs

    async def enqueue(self, queue: Queue | None = None) -> "WorkflowHandle[Any]":
        """Enqueue all jobs; up to 1,000 messages (one for each job and one for each dependency) all or none.

        Larger ones are stored in stages: first those that wait, last those that can start.

        Args:
            queue: Whose connection is used; by default the one that tasks share.

        Raises:
            WorkflowError: It is empty, has a circle, or its id is taken; nothing was enqueued.
            AmbiguousJobError: A job depends on an id that jobs of several queues have; nothing was enqueued.
            DuplicateJobError, EnqueueUnknownError: As `Queue.enqueue_many`.
        """
        return await self.enqueue_ends(self._ends(), queue)

    def enqueue_sync(self) -> "SyncWorkflowHandle[Any]":
        """Enqueue from code without an event loop, from any thread."""
        return self.enqueue_ends_sync(self._ends())

    def enqueue_ends_sync(self, ends: Tail) -> "SyncWorkflowHandle[Any]":
        """As `enqueue_ends`, from code without an event loop; encodes the jobs in the calling thread, as `enqueue_blocking`."""
        for job in self.jobs:
            job.encode()
        return SyncWorkflowHandle(blocking_loop().run(self.enqueue_ends(ends, None)))

    def _ends(self) -> Tail:
        """Return the jobs for which no other one waits."""
        led = {(parent.queue, parent.id) for job in self.jobs for parent in job.wiring.after}
        ends = [job for job in self.jobs if (job.queue, job.job_id) not in led]
        return Tail.of(ends)

    async def enqueue_ends(self, ends: Tail, queue: Queue | None) -> "WorkflowHandle[Any]":
        """Enqueue all jobs; `ends` are those whose results are the workflow's."""
        if not self.jobs:
            raise WorkflowError("the workflow has no jobs")
        for job in self.jobs:
            job.workflow = self.workflow_id
            check_many(job)
        return await in_budget(queue or shared_queue(None), self.jobs, lambda connection: self._store(connection, ends))

    async def _store(self, connection: Connection, ends: Tail) -> "WorkflowHandle[Any]":
        await find_parents(connection, self.jobs)
        jobs = in_order(self.jobs)
        await within(connection, jobs, lambda: self._send(connection, jobs))
        return WorkflowHandle(connection, self.workflow_id, jobs, ends)

    async def _send(self, connection: Connection, jobs: list[Job[Any]]) -> None:
        for job in jobs:
            job.bind(connection)
            job.encode()  # what cannot be serialized is found before anything is sent
        head = Head(name=self.name, created_at=connection.clock.now(), total=len(jobs), token=self._token)
        await write_head(connection, self.workflow_id, head)
        await add_members(connection, self.workflow_id, _members(jobs))
        await send_many(connection, jobs)


def _members(jobs: list[Job[Any]]) -> list[Member]:
    return [
        Member(job.job_id, job.queue, job.function_name, [each.id for each in job.wiring.after if not is_signal(each.id)])
        for job in jobs
    ]


def _jobs(connection: Connection, members: Iterable[Member]) -> list[Job[Any]]:
    """Return jobs that can be followed, not run."""
    jobs: list[Job[Any]] = []
    for member in members:
        job: Job[Any] = Job(member.function, job_id=member.job_id, queue=member.queue)
        job.bind(connection)
        jobs.append(job)
    return jobs


def _time_left(timeout: float | None) -> Callable[[], float | None]:
    """Return what tells how many seconds are left of a time-out."""
    timeout, loop = patience(timeout), asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    return lambda: None if until is None else max(0.0, until - loop.time())


class WorkflowHandle(Generic[R]):
    """An enqueued workflow."""

    def __init__(self, connection: Connection, workflow_id: str, jobs: list[Job[Any]], ends: Tail | None = None) -> None:
        self._connection = connection
        self._ends = ends
        self._added: list[Job[Any]] = []
        self.workflow_id = workflow_id
        self.jobs = jobs
        """The jobs that this handle knows of, parents before children; `result` and `results` find those added since."""

    def __repr__(self) -> str:
        return f"<WorkflowHandle {self.workflow_id}>"

    @classmethod
    async def open(cls, workflow_id: str, queue: Queue | None = None) -> Self:
        """Return a handle of a workflow by its id.

        Raises:
            WorkflowNotFoundError: No workflow of this id is known (any more).
        """
        connection = await (queue or shared_queue(None)).connection()
        workflow_id = check_workflow_id(workflow_id)
        _, members = await read_workflow(connection, workflow_id)
        jobs = _jobs(connection, members)
        led = {parent for member in members for parent in member.parents}
        ends = [job for job in jobs if job.job_id not in led]
        return cls(connection, workflow_id, jobs, Tail.of(ends))

    async def status(self) -> WorkflowView:
        """Return the states of all its jobs, also of those added since.

        Raises:
            WorkflowNotFoundError: It is not known any more.
        """
        return await get_workflow(await self._connection.here(), self.workflow_id)

    async def wait(self, timeout: float | None = None) -> WorkflowView:
        """Wait until all its jobs have ended, however, those too that are added meanwhile, and return their states.

        Args:
            timeout: Seconds to wait; None waits as long as it takes.

        Raises:
            JobTimeoutError: A job has not ended yet; all go on.
            WorkflowNotFoundError: It is not known any more.
        """
        left = _time_left(timeout)
        ended = 0
        while True:
            _, members = await read_workflow(await self._connection.here(), self.workflow_id)
            if len(members) == ended:
                return await self.status()
            ended = len(members)
            await gather(*_jobs(await self._connection.here(), members), timeout=left(), return_exceptions=True)

    async def result(self, timeout: float | None = None) -> R:
        """Wait for the end and return the result: the last job's, or the list of them where several end it.

        Jobs that were added since the handle was made count as in `wait`: it waits for them too, and raises what one of them has
        ended in; their own results are in `results`.

        Args:
            timeout: Seconds to wait; None waits as long as it takes.

        Raises:
            JobNotFoundError: Nothing is left of a job that ends it.
            JobFailedError, JobCancelledError, JobExpiredError: A job that ends it, or was added, did not succeed; its reason
                names the parent that has failed.
            JobTimeoutError: It has not ended yet; it goes on.
        """
        left = _time_left(timeout)
        while True:
            ends = self._ends
            if ends is None:
                raise NaqError(f"{self!r} does not know its last jobs: use WorkflowHandle.open()")
            results = await gather(*ends.jobs, *self._added, timeout=left())
            if not await self._find_added():
                return ends.results(results[: len(ends.jobs)])  # type: ignore[no-any-return]  # R is the type of the tail

    async def results(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for all its jobs, those too that are added meanwhile, and return their results by job id.

        Jobs of one id in several queues are distinguished as `id@queue`.

        Raises:
            JobFailedError, JobCancelledError, JobExpiredError, JobNotFoundError, JobTimeoutError: As `result`, of any of them.
        """
        left = _time_left(timeout)
        while True:
            jobs = list(self.jobs)
            results = await gather(*jobs, timeout=left())
            if not await self._find_added():
                break
        uses = Counter(job.job_id for job in jobs)
        names = (job.job_id if uses[job.job_id] == 1 else f"{job.job_id}@{job.queue}" for job in jobs)
        return dict(zip(names, results, strict=True))

    async def _find_added(self) -> bool:
        """Look for jobs that were added since, and return whether there are any."""
        connection = await self._connection.here()
        try:
            _, members = await read_workflow(connection, self.workflow_id)
        except WorkflowNotFoundError:  # its time to live has passed: nothing can be added to it
            return False
        known = {(job.queue, job.job_id) for job in self.jobs}
        added = [member for member in members if (member.queue, member.job_id) not in known]
        self._take_added(_jobs(connection, added))
        return bool(added)

    def _take_added(self, jobs: list[Job[Any]]) -> None:
        self.jobs += jobs
        self._added += jobs

    async def cancel(self, reason: str = "") -> int:
        """Cancel all its jobs that have not ended, and return how many that were; see `manage.cancel_workflow`."""
        return await cancel_workflow(await self._connection.here(), self.workflow_id, reason)

    async def retry(self) -> int:
        """Put its failed part back to work, and return how many jobs that are; see `manage.retry_workflow`."""
        return await retry_workflow(await self._connection.here(), self.workflow_id)

    async def add(self, *steps: Step[Any] | Job[Any], depends_on: DependsOn | None = None) -> list[Job[Any]]:
        """Enqueue more jobs as part of the workflow, also from inside one of its jobs, and return them.

        Jobs that wait already cannot be made to wait for these too. It raises what `Workflow.enqueue` raises.
        """
        more = Workflow(workflow_id=self.workflow_id)
        for step in steps:
            more.add(step, depends_on=depends_on)  # type: ignore[arg-type]  # each is one of them
        connection = await self._connection.here()
        await find_parents(connection, more.jobs)
        jobs = in_order(more.jobs)
        for job in jobs:
            job.workflow = self.workflow_id
        if jobs:
            await within(connection, jobs, lambda: self._send_added(connection, jobs))
        self._take_added(jobs)
        return jobs

    async def _send_added(self, connection: Connection, jobs: list[Job[Any]]) -> None:
        for job in jobs:
            job.bind(connection)
            job.encode()  # as in `Workflow`: a member that cannot be stored would never end
        await add_members(connection, self.workflow_id, _members(jobs))
        await send_many(connection, jobs)


async def current_workflow(queue: Queue | None = None) -> WorkflowHandle[Any]:
    """Return the workflow of the job that this code runs in, to add jobs to it.

    Raises:
        NaqError: Called outside a job, or the job belongs to none.
        WorkflowNotFoundError: It is not known any more.
    """
    job = current_job()
    if not job.workflow:
        raise NaqError(f"job {job.job_id} does not belong to a workflow")
    return await WorkflowHandle.open(job.workflow, queue)


class SyncWorkflowHandle(Generic[R]):
    """An enqueued workflow, for synchronous code; `handle` is the asynchronous one."""

    def __init__(self, handle: WorkflowHandle[R]) -> None:
        self.handle = handle
        self.workflow_id = handle.workflow_id

    @property
    def jobs(self) -> list[SyncJob[Any]]:
        """The jobs that the handle knows of; see `WorkflowHandle.jobs`."""
        return [SyncJob(job) for job in self.handle.jobs]

    def __repr__(self) -> str:
        return repr(self.handle)

    def status(self) -> WorkflowView:
        """Return the states of all its jobs."""
        return blocking_loop().run(self.handle.status())

    def wait(self, timeout: float | None = None) -> WorkflowView:
        """Wait until all its jobs have ended; see `WorkflowHandle.wait`."""
        return blocking_loop().run(self.handle.wait(timeout))

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end; see `WorkflowHandle.result`."""
        return blocking_loop().run(self.handle.result(timeout))

    def results(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for all jobs; see `WorkflowHandle.results`."""
        return blocking_loop().run(self.handle.results(timeout))

    def cancel(self, reason: str = "") -> int:
        """Cancel what has not ended; see `WorkflowHandle.cancel`."""
        return blocking_loop().run(self.handle.cancel(reason))

    def retry(self) -> int:
        """Put the failed part back to work; see `WorkflowHandle.retry`."""
        return blocking_loop().run(self.handle.retry())


__all__ = ["SyncWorkflowHandle", "Workflow", "WorkflowHandle", "chain", "chord", "current_workflow", "group"]
