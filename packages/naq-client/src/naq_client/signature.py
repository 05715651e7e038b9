"""Calls to be made later, and how they follow each other: signatures, chains and groups."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from naq_core.dependency import extend, result_of, results_of
from naq_core.errors import ConfigurationError, WorkflowError
from naq_core.job import Job

if TYPE_CHECKING:
    from naq_client.queue import Queue
    from naq_client.workflow import SyncWorkflowHandle, Workflow, WorkflowHandle

R = TypeVar("R")
S = TypeVar("S")


class Step(Generic[R]):
    """A part of a workflow: a signature, a chain or a group."""

    def lay(self, jobs: list[Job[Any]], before: "Ends | None") -> "Ends":
        """Append this part's jobs, to run after `before`, and return those that end it."""
        raise NotImplementedError

    def __or__(self, then: "Step[S] | Job[S]") -> "Chain[S]":
        """Return a chain: `a | b` runs `b` with the result of `a`."""
        return Chain(self, then)

    async def enqueue(
        self, queue: "Queue | None" = None, *, name: str = "", workflow_id: str | None = None
    ) -> "WorkflowHandle[R]":
        """Enqueue it as a workflow.

        Args:
            queue: Whose connection is used; by default the one that tasks share.
            name: For people.
            workflow_id: An id of your own; by default a new one.

        Raises:
            WorkflowError: The jobs cannot be put together. Otherwise as `Queue.enqueue_many`.
        """
        workflow, ends = self._workflow(name, workflow_id)
        return cast("WorkflowHandle[R]", await workflow.enqueue_ends(ends, queue))

    def _workflow(self, name: str, workflow_id: str | None) -> "tuple[Workflow, Ends]":
        from naq_client.workflow import Workflow  # noqa: PLC0415 - which is made of steps

        workflow = Workflow(name, workflow_id=workflow_id)
        return workflow, self.lay(workflow.jobs, None)

    def enqueue_sync(self, *, name: str = "", workflow_id: str | None = None) -> "SyncWorkflowHandle[R]":
        """Enqueue it from code without an event loop, from any thread."""
        workflow, ends = self._workflow(name, workflow_id)
        return cast("SyncWorkflowHandle[R]", workflow.enqueue_ends_sync(ends))


class Ends:
    """The jobs that end a part, and whether their results are a list."""

    __slots__ = ("jobs", "many")

    def __init__(self, jobs: Sequence[Job[Any]], *, many: bool) -> None:
        self.jobs = list(jobs)
        self.many = many

    def value(self) -> Any:
        """Return what stands for their results."""
        return results_of(self.jobs) if self.many else result_of(self.jobs[0])


class Signature(Step[R]):
    """A call to be made: the arguments, without a job yet; made by `task.s(…)` or `queue.s(function, …)`.

    In a chain it gets the result of what runs before it as its first argument, unless it was made by `si`.
    """

    def __init__(self, make: Callable[..., Job[R]], args: Sequence[Any], *, takes_result: bool) -> None:
        self._make = make
        self._args = tuple(args)
        self._takes_result = takes_result

    def __repr__(self) -> str:
        return f"<Signature of {self.job().function_name}>" if not self._takes_result else f"<Signature {self._args!r}>"

    def job(self, *first: Any) -> Job[R]:
        """Make a job of it, with more arguments before its own."""
        return self._make(*first, *self._args)

    def lay(self, jobs: list[Job[Any]], before: Ends | None) -> Ends:
        """Append one job."""
        if before is not None and self._takes_result:
            job = self.job(before.value())
        else:
            job = self.job()
            if before is not None:
                job.ties = extend(job.ties, before.jobs)
        jobs.append(job)
        return Ends([job], many=False)


class Chain(Step[R]):
    """Parts that run one after the other, each with the result of the one before; its result is the last one's."""

    def __init__(self, *steps: "Step[Any] | Job[Any]") -> None:
        if not steps:
            raise WorkflowError("a chain needs at least one step")
        self.steps: list[Step[Any] | Job[Any]] = []
        for step in steps:
            self.steps += step.steps if isinstance(step, Chain) else [_checked(step)]

    def lay(self, jobs: list[Job[Any]], before: Ends | None) -> Ends:
        """Append the steps' jobs, one after the other."""
        ends = before
        for step in self.steps:
            ends = _lay(step, jobs, ends)
        return cast("Ends", ends)


class Group(Step[list[R]]):
    """Parts that run side by side; its result is the list of theirs, in their order."""

    def __init__(self, steps: "Iterable[Step[R] | Job[R]]") -> None:
        self.steps = [_checked(step) for step in steps]
        if not self.steps:
            raise WorkflowError("a group needs at least one step")

    def lay(self, jobs: list[Job[Any]], before: Ends | None) -> Ends:
        """Append the steps' jobs, side by side."""
        ends = [_lay(step, jobs, before) for step in self.steps]
        return Ends([job for each in ends for job in each.jobs], many=True)


def _checked(step: Any) -> "Step[Any] | Job[Any]":
    if not isinstance(step, Step | Job):
        raise ConfigurationError("step", f"{step!r} is not a signature (task.s(…)), a job (queue.call(…)), a chain or a group")
    return step


def _lay(step: "Step[Any] | Job[Any]", jobs: list[Job[Any]], before: Ends | None) -> Ends:
    if isinstance(step, Step):
        return step.lay(jobs, before)
    if before is not None:
        step.ties = extend(step.ties, before.jobs)
    jobs.append(step)
    return Ends([step], many=False)


def chain(*steps: "Step[Any] | Job[Any]") -> Chain[Any]:
    """Return parts that run one after the other: `chain(fetch.s(url), parse.s(), store.s())`.

    A signature made by `s` gets the result of the part before it as its first argument, one made by `si` and a job do not.
    `fetch.s(url) | parse.s() | store.s()` is the same, and keeps the type of the last result.
    """
    return Chain(*steps)


def group(*steps: "Step[R] | Job[R] | Iterable[Step[R] | Job[R]]") -> Group[R]:
    """Return parts that run side by side: `group(a.s(1), b.s(2))` or `group(a.s(n) for n in range(9))`."""
    flat: list[Step[R] | Job[R]] = []
    for step in steps:
        flat += [step] if isinstance(step, Step | Job) or not isinstance(step, Iterable) else list(step)
    return Group(flat)


def chord(steps: "Group[Any] | Iterable[Step[Any] | Job[Any]]", callback: "Step[R] | Job[R]") -> Chain[R]:
    """Return parts that run side by side, and one that runs when all have succeeded, with the list of their results."""
    return Chain(steps if isinstance(steps, Group) else Group(steps), callback)
