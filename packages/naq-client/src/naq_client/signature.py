"""Calls to be made later, and how they follow each other: signatures, chains and groups."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from naq_core.dependency import DependsOn, ResultOf, extend, result_of, shaped
from naq_core.envelope import Parent
from naq_core.errors import InvalidOptionError, WorkflowError
from naq_core.job import Job

if TYPE_CHECKING:
    from naq_client.queue import Queue
    from naq_client.workflow import SyncWorkflowHandle, Workflow, WorkflowHandle

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
A_contra = TypeVar("A_contra", contravariant=True)


class Step(Generic[R_co]):
    """A part of a workflow: a signature, a chain or a group."""

    def lay(self, plan: "Plan", before: "Tail | None") -> "Tail":
        """Add this part's jobs to a plan, to run after `before`, and return those that end it. The part itself stays as it is."""
        raise NotImplementedError

    @overload
    def __or__(self, then: "OpenSignature[R_co, S] | Chain[S] | Job[S]") -> "Chain[S]": ...
    @overload
    def __or__(self, then: "Group[S]") -> "Chain[list[S]]": ...
    def __or__(self, then: Any) -> "Chain[Any]":
        """Return a chain: `a | b` runs `b` with the result of `a`, which type checkers compare with what `b` takes."""
        return Chain(self, then)

    async def enqueue(
        self, queue: "Queue | None" = None, *, name: str = "", workflow_id: str | None = None
    ) -> "WorkflowHandle[R_co]":
        """Enqueue it as a workflow.

        Args:
            queue: Whose connection is used; by default the one that tasks share.
            name: For people.
            workflow_id: An id of your own; by default a new one.

        Raises:
            WorkflowError: The jobs cannot be put together. Otherwise as `Queue.enqueue_many`.
        """
        workflow, ends = self._workflow(name, workflow_id)
        return cast("WorkflowHandle[R_co]", await workflow.enqueue_ends(ends, queue))

    def _workflow(self, name: str, workflow_id: str | None) -> "tuple[Workflow, Tail]":
        from naq_client.workflow import Workflow  # noqa: PLC0415 - which is made of steps

        workflow = Workflow(name, workflow_id=workflow_id)
        return workflow, workflow.plan.lay(self)

    def enqueue_sync(self, *, name: str = "", workflow_id: str | None = None) -> "SyncWorkflowHandle[R_co]":
        """Enqueue it from code without an event loop, from any thread."""
        workflow, ends = self._workflow(name, workflow_id)
        return cast("SyncWorkflowHandle[R_co]", workflow.enqueue_ends_sync(ends))


class Tail:
    """The jobs that end a part, and how their results are nested.

    Args:
        shape: As `Fill.shape`, but empty for a single job.
    """

    __slots__ = ("jobs", "shape")

    def __init__(self, jobs: Iterable[Job[Any]], shape: tuple[int, ...]) -> None:
        self.jobs = list(jobs)
        self.shape = shape

    @classmethod
    def of(cls, jobs: Sequence[Job[Any]]) -> "Tail":
        """Return the ends of a workflow that is no part: the one job, or a list."""
        return cls(jobs, () if len(jobs) == 1 else (len(jobs), *(-1 for _ in jobs)))

    @classmethod
    def side_by_side(cls, parts: "Sequence[Tail]") -> "Tail":
        """Return the ends of parts that run side by side: a list of what each of them comes to."""
        shape = [len(parts)]
        for part in parts:
            shape += part.shape or (-1,)
        return cls((job for part in parts for job in part.jobs), tuple(shape))

    def value(self) -> Any:
        """Return placeholders for their results."""
        return ResultOf(self.jobs, many=True, shape=self.shape) if self.shape else result_of(self.jobs[0])

    def results(self, results: Sequence[Any]) -> Any:
        """Return the jobs' results, given in their order, as they are nested."""
        return shaped(results, self.shape) if self.shape else results[0]


class Plan:
    """The jobs of a workflow, as its parts are laid out one after the other."""

    def __init__(self) -> None:
        self.jobs: list[Job[Any]] = []
        self._copies: dict[Job[Any], Job[Any]] = {}

    def take(self, job: Job[Any]) -> Job[Any]:
        """Add a copy of a job that was made before, and return it.

        Raises:
            WorkflowError: It is there already.
        """
        if job in self._copies:
            raise WorkflowError(f"job {job.job_id} is given twice")
        made = self._copies[job] = job.copied()
        self.jobs.append(made)
        return made

    def lay(self, step: "Step[Any] | Job[Any]", depends_on: DependsOn | None = None, *, allow_failure: bool = False) -> Tail:
        """Add a part's jobs, or a job itself, and return those that end it.

        Args:
            depends_on: What the first of them wait for.
        """
        before = len(self.jobs)
        if isinstance(step, Job):
            self.jobs.append(step)
            ends = Tail([step], ())
        else:
            ends = step.lay(self, None)
        if depends_on is not None:
            for job in self.jobs[before:]:
                if not _is_led(job, self.jobs[before:]):
                    job.wiring = extend(job.wiring, depends_on, allow_failure=allow_failure)
        self._rename()
        return ends

    def _rename(self) -> None:
        """Let what waits for a job wait for the copy of it that is here, also where that has a new id."""
        new = {(old.queue, old.job_id): copy.job_id for old, copy in self._copies.items() if old.job_id != copy.job_id}
        if not new:
            return
        for job in self.jobs:
            after = (Parent(new.get((each.queue, each.id), each.id), each.queue, each.lenient) for each in job.wiring.after)
            job.wiring = job.wiring._replace(after=tuple(after))


def _is_led(job: Job[Any], others: Sequence[Job[Any]]) -> bool:
    ids = {(other.queue, other.job_id) for other in others}
    return any((parent.queue, parent.id) in ids for parent in job.wiring.after)


class OpenSignature(Step[R_co], Generic[A_contra, R_co]):
    """To type checkers: a signature whose first argument is left out, as it is the result of what runs before it in a chain."""

    takes_result: bool
    """Whether a chain gives it the result of what runs before it, and a callback the outcome."""
    queue: str | None
    """Where its job goes, if that was said."""

    def job(self, *first: Any) -> Job[R_co]:
        """Make a job of it, with more arguments before its own."""
        raise NotImplementedError


class Signature(OpenSignature[Any, R_co]):
    """A call to be made: the arguments, without a job yet; made by `task.s(…)` or `queue.s(function, …)`.

    In a chain it gets the result of what runs before it as its first argument, unless it was made by `si`.
    """

    def __init__(
        self, make: Callable[..., Job[R_co]], args: Sequence[Any], *, takes_result: bool, queue: str | None = None
    ) -> None:
        self._make = make
        self._args = tuple(args)
        self.takes_result = takes_result
        self.queue = queue

    def __repr__(self) -> str:
        return f"<Signature of {self.job().function_name}>" if not self.takes_result else f"<Signature {self._args!r}>"

    def job(self, *first: Any) -> Job[R_co]:
        """Make a job of it, with more arguments before its own."""
        return self._make(*first, *self._args)

    def lay(self, plan: Plan, before: Tail | None) -> Tail:
        """Add one job."""
        if before is not None and self.takes_result:
            job = self.job(before.value())
        else:
            job = self.job()
            if before is not None:
                job.wiring = extend(job.wiring, before.jobs)
        plan.jobs.append(job)
        return Tail([job], ())


class Chain(Step[R_co]):
    """Parts that run one after the other, each with the result of the one before; its result is the last one's."""

    def __init__(self, *steps: "Step[Any] | Job[Any]") -> None:
        if not steps:
            raise WorkflowError("a chain needs at least one step")
        self.steps: list[Step[Any] | Job[Any]] = []
        for step in steps:
            self.steps += step.steps if isinstance(step, Chain) else [_checked(step)]

    def lay(self, plan: Plan, before: Tail | None) -> Tail:
        """Add the steps' jobs, one after the other."""
        ends = before
        for step in self.steps:
            ends = _lay(step, plan, ends)
        return cast("Tail", ends)


class Group(Step[list[R_co]], Generic[R_co]):
    """Steps that run in parallel; its result is the list of their results, in order. Nested groups give nested lists."""

    def __init__(self, steps: "Iterable[Step[R_co] | Job[R_co]]") -> None:
        self.steps = [_checked(step) for step in steps]
        if not self.steps:
            raise WorkflowError("a group needs at least one step")

    def lay(self, plan: Plan, before: Tail | None) -> Tail:
        """Add the steps' jobs, side by side."""
        return Tail.side_by_side([_lay(step, plan, before) for step in self.steps])


def _checked(step: Any) -> "Step[Any] | Job[Any]":
    if not isinstance(step, Step | Job):
        raise InvalidOptionError("step", f"{step!r} is not a signature (task.s(…)), a job (queue.call(…)), a chain or a group")
    return step


def _lay(step: "Step[Any] | Job[Any]", plan: Plan, before: Tail | None) -> Tail:
    if isinstance(step, Step):
        return step.lay(plan, before)
    job = plan.take(step)
    if before is not None:
        job.wiring = extend(job.wiring, before.jobs)
    return Tail([job], ())


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
