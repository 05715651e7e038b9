"""Workflows: jobs that are enqueued together, followed together, cancelled together."""

import asyncio
from collections.abc import Iterable
from typing import Any, Generic, Self, TypeVar, overload

from naq_client._graph import in_order
from naq_client._portal import SyncJob, portal
from naq_client._shared import shared_queue
from naq_client._submit import submit_many
from naq_client._unique import check_many
from naq_client.queue import Queue
from naq_client.signature import Chain, Ends, Group, Signature, Step, chain, chord, group
from naq_client.together import gather
from naq_core.broker import Connection
from naq_core.context import current_job
from naq_core.dependency import DependsOn, extend
from naq_core.errors import ConfigurationError, NaqError, WorkflowError
from naq_core.inspect import get_workflow
from naq_core.job import Job
from naq_core.manage import cancel_workflow, retry_workflow
from naq_core.names import check_workflow_id, new_id
from naq_core.values import patience, text
from naq_core.views import WorkflowView
from naq_core.workflows import Head, Member, add_members, read_workflow, write_head

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
        self.jobs: list[Job[Any]] = []
        self._token = new_id()

    def __repr__(self) -> str:
        return f"<Workflow {self.workflow_id} {self.name!r} of {len(self.jobs)} jobs>"

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
            ConfigurationError: Not a step, or `depends_on` names what is no job.
        """
        before = len(self.jobs)
        if isinstance(step, Job):
            self.jobs.append(step)
            ends = Ends([step], many=False)
        elif isinstance(step, Step):
            ends = step.lay(self.jobs, None)
        else:
            raise ConfigurationError("step", f"{step!r} is not a signature, a job, a chain or a group")
        if depends_on is not None:
            for job in self.jobs[before:]:
                if not _is_led(job, self.jobs[before:]):
                    job.ties = extend(job.ties, depends_on, allow_failure=allow_failure)
        return ends.jobs[0] if isinstance(step, Signature | Job) else ends.jobs

    async def enqueue(self, queue: Queue | None = None) -> "WorkflowHandle[Any]":
        """Enqueue all jobs; up to 1,000 messages (one for each job and one for each dependency) all or none.

        Larger ones are stored in stages: first those that wait, last those that can start.

        Args:
            queue: Whose connection is used; by default the one that tasks share.

        Raises:
            WorkflowError: It is empty, has a circle, or its id is taken; nothing was enqueued.
            DuplicateJobError, EnqueueUnknownError: As `Queue.enqueue_many`.
        """
        return await self.enqueue_ends(self._ends(), queue)

    def enqueue_sync(self) -> "SyncWorkflowHandle[Any]":
        """Enqueue from code without an event loop, from any thread."""
        return self.enqueue_ends_sync(self._ends())

    def enqueue_ends_sync(self, ends: Ends) -> "SyncWorkflowHandle[Any]":
        """As `enqueue_ends`, from code without an event loop; encodes the jobs in the calling thread, as `enqueue_blocking`."""
        for job in self.jobs:
            job.encode()
        return SyncWorkflowHandle(portal().run(self.enqueue_ends(ends, None)))

    def _ends(self) -> Ends:
        """Return the jobs for which no other one waits."""
        led = {(parent.queue, parent.id) for job in self.jobs for parent in job.ties.after}
        ends = [job for job in self.jobs if (job.queue, job.job_id) not in led]
        return Ends(ends, many=len(ends) != 1)

    async def enqueue_ends(self, ends: Ends, queue: Queue | None) -> "WorkflowHandle[Any]":
        """Enqueue all jobs; `ends` are those whose results are the workflow's."""
        if not self.jobs:
            raise WorkflowError("the workflow has no jobs")
        self.jobs = in_order(self.jobs)
        connection = await (queue or shared_queue(None)).connection()
        for job in self.jobs:
            job.workflow = self.workflow_id
            check_many(job)
            job.bind(connection)
            job.encode()  # what cannot be serialized is found before anything is sent
        head = Head(name=self.name, created_at=connection.clock.now(), total=len(self.jobs), token=self._token)
        await write_head(connection, self.workflow_id, head)
        await add_members(connection, self.workflow_id, _members(self.jobs))
        await submit_many(connection, self.jobs)
        return WorkflowHandle(connection, self.workflow_id, self.jobs, ends)


def _members(jobs: list[Job[Any]]) -> list[Member]:
    return [Member(job.job_id, job.queue, job.function_name, [parent.id for parent in job.ties.after]) for job in jobs]


def _jobs(connection: Connection, members: Iterable[Member]) -> list[Job[Any]]:
    """Return jobs that can be followed, not run."""
    jobs: list[Job[Any]] = []
    for member in members:
        job: Job[Any] = Job(member.function, job_id=member.job_id, queue=member.queue)
        job.bind(connection)
        jobs.append(job)
    return jobs


def _is_led(job: Job[Any], others: list[Job[Any]]) -> bool:
    ids = {(other.queue, other.job_id) for other in others}
    return any((parent.queue, parent.id) in ids for parent in job.ties.after)


class WorkflowHandle(Generic[R]):
    """An enqueued workflow."""

    def __init__(self, connection: Connection, workflow_id: str, jobs: list[Job[Any]], ends: Ends | None = None) -> None:
        self._connection = connection
        self._ends = ends
        self.workflow_id = workflow_id
        self.jobs = jobs
        """The jobs, parents before children."""

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
        return cls(connection, workflow_id, jobs, Ends(ends, many=len(ends) != 1))

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
        loop = asyncio.get_running_loop()
        timeout = patience(timeout)
        until = None if timeout is None else loop.time() + timeout
        ended = 0
        while True:
            _, members = await read_workflow(await self._connection.here(), self.workflow_id)
            if len(members) == ended:
                return await self.status()
            ended = len(members)
            left = None if until is None else max(0.0, until - loop.time())
            await gather(*_jobs(await self._connection.here(), members), timeout=left, return_exceptions=True)

    async def result(self, timeout: float | None = None) -> R:
        """Wait for the end and return the result: the last job's, or the list of them where several end it.

        Args:
            timeout: Seconds to wait; None waits as long as it takes.

        Raises:
            JobFailedError, JobCancelledError, JobExpiredError: A job that ends it did not succeed; its reason names the
                parent that has failed.
            JobTimeoutError: It has not ended yet; it goes on.
        """
        ends = self._ends
        if ends is None:
            raise NaqError(f"{self!r} does not know which jobs end it: WorkflowHandle.open() finds out")
        results = await asyncio.gather(*(job.result(timeout) for job in ends.jobs))
        return results if ends.many else results[0]  # type: ignore[return-value]  # R is what Ends say

    async def results(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for all jobs of this handle and return their results by job id.

        Raises:
            JobFailedError, JobCancelledError, JobExpiredError, JobTimeoutError: As `result`, of any of them.
        """
        results = await asyncio.gather(*(job.result(timeout) for job in self.jobs))
        return {job.job_id: result for job, result in zip(self.jobs, results, strict=True)}

    async def cancel(self, reason: str = "") -> int:
        """Cancel all its jobs that have not ended, and return how many that were; see `manage.cancel_workflow`."""
        return await cancel_workflow(await self._connection.here(), self.workflow_id, reason)

    async def retry(self) -> int:
        """Put its failed part back to work, and return how many jobs that are; see `manage.retry_workflow`."""
        return await retry_workflow(await self._connection.here(), self.workflow_id)

    async def add(self, *steps: Step[Any] | Job[Any], depends_on: DependsOn | None = None) -> list[Job[Any]]:
        """Enqueue more jobs as part of the workflow, also from inside one of its jobs, and return them.

        Jobs that wait already cannot be made to wait for these too.

        Raises:
            As `Workflow.enqueue`.
        """
        more = Workflow(workflow_id=self.workflow_id)
        for step in steps:
            more.add(step, depends_on=depends_on)  # type: ignore[arg-type]  # each is one of them
        jobs = in_order(more.jobs)
        connection = await self._connection.here()
        for job in jobs:
            job.workflow = self.workflow_id
            job.bind(connection)
            job.encode()  # as in `Workflow.enqueue_ends`: a member that cannot be stored would never end
        await add_members(connection, self.workflow_id, _members(jobs))
        if jobs:
            await submit_many(connection, jobs)
        self.jobs += jobs
        return jobs


async def current_workflow(queue: Queue | None = None) -> WorkflowHandle[Any]:
    """Return the workflow of the job that this code runs in, to add jobs to it.

    Raises:
        NaqError: Called outside a job, or the job belongs to none.
        WorkflowNotFoundError: It is not known any more.
    """
    job = current_job()
    if not job.workflow:
        raise NaqError(f"job {job.job_id} belongs to no workflow")
    return await WorkflowHandle.open(job.workflow, queue)


class SyncWorkflowHandle(Generic[R]):
    """An enqueued workflow, for synchronous code; `handle` is the asynchronous one."""

    def __init__(self, handle: WorkflowHandle[R]) -> None:
        self.handle = handle
        self.workflow_id = handle.workflow_id
        self.jobs = [SyncJob(job) for job in handle.jobs]

    def __repr__(self) -> str:
        return repr(self.handle)

    def status(self) -> WorkflowView:
        """Return the states of all its jobs."""
        return portal().run(self.handle.status())

    def wait(self, timeout: float | None = None) -> WorkflowView:
        """Wait until all its jobs have ended; see `WorkflowHandle.wait`."""
        return portal().run(self.handle.wait(timeout))

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end; see `WorkflowHandle.result`."""
        return portal().run(self.handle.result(timeout))

    def results(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for all jobs; see `WorkflowHandle.results`."""
        return portal().run(self.handle.results(timeout))

    def cancel(self, reason: str = "") -> int:
        """Cancel what has not ended; see `WorkflowHandle.cancel`."""
        return portal().run(self.handle.cancel(reason))

    def retry(self) -> int:
        """Put the failed part back to work; see `WorkflowHandle.retry`."""
        return portal().run(self.handle.retry())


__all__ = ["SyncWorkflowHandle", "Workflow", "WorkflowHandle", "chain", "chord", "current_workflow", "group"]
