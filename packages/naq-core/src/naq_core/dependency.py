"""What a job may wait for, and whose results it is given: the words in which users say it, and their wire form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar

from naq_core.envelope import Envelope, Fill, JobOptions, Parent
from naq_core.errors import DecodeError, EncodeError, InvalidOptionError, NaqError
from naq_core.names import SIGNAL, check_job_id, check_place, check_queue, check_signal
from naq_core.queue_policy import made_of
from naq_core.record import JobState
from naq_core.serialization import decode_result
from naq_core.values import flag, members

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Awaited(Protocol[R_co]):
    """What is needed of a `Job`."""

    @property
    def job_id(self) -> str: ...  # noqa: D102 - as a job's
    @property
    def queue(self) -> str: ...  # noqa: D102 - as a job's
    @property
    def options(self) -> JobOptions: ...  # noqa: D102 - as a job's
    async def result(self, timeout: float | None = None) -> R_co: ...  # noqa: D102 - as a job's


class Blocking(Protocol):
    """What is needed of a `SyncJob`."""

    @property
    def job(self) -> Awaited[Any]: ...  # noqa: D102 - as a job's


class Dependency:
    """A job that another one waits for, with what its failure means.

    Args:
        job: A job, its id, or `id@queue`.
        allow_failure: Go on also if it fails, is cancelled, expires or is not known; otherwise the waiting job is then
            cancelled, with a reason that names it.
    """

    __slots__ = ("allow_failure", "job")

    def __init__(self, job: Awaited[Any] | Blocking | str, *, allow_failure: bool = False) -> None:
        self.job = job
        self.allow_failure = allow_failure

    def __repr__(self) -> str:
        return f"Dependency({self.job!r}, allow_failure={self.allow_failure})"


Parentage: TypeAlias = Awaited[Any] | Blocking | Dependency | str
DependsOn: TypeAlias = Parentage | Iterable[Parentage]


class ResultOf:
    """Stands for results in a call's arguments; made by `result_of` and `results_of`.

    Args:
        shape: How the results are nested, where they are not one flat list; see `Fill.shape`.
    """

    __slots__ = ("jobs", "many", "shape")

    def __init__(self, jobs: Sequence[Awaited[Any]], *, many: bool, shape: tuple[int, ...] = ()) -> None:
        self.jobs = tuple(jobs)
        self.many = many
        self.shape = shape

    def __reduce__(self) -> NoReturn:
        raise EncodeError("result_of() must itself be an argument of the job, not part of one: use results_of() for a list")

    def __repr__(self) -> str:
        ids = ", ".join(job.job_id for job in self.jobs)
        return f"<results of {ids}>" if self.many else f"<result of {ids}>"


def result_of(job: Awaited[R]) -> R:
    """Stand, among the arguments of another job, for what this job will return.

    `queue.enqueue(report, result_of(job))`: the other job waits for it. To a type checker this is the result itself. Where
    the job did not succeed and `allow_failure` let the other one run, it gets None; `current_job().parents` tells why.
    """
    return ResultOf([_checked(job)], many=False)  # type: ignore[return-value]  # it will be one


def results_of(jobs: Iterable[Awaited[R]]) -> list[R]:
    """As `result_of`, for a list of results, in the order of the jobs."""
    return ResultOf([_checked(job) for job in members(jobs, "results_of", "a list of jobs")], many=True)  # type: ignore[return-value]  # as above


def _checked(job: Any) -> Any:
    if not hasattr(job, "job_id"):
        raise InvalidOptionError("result_of", f"{job!r} is not a job")
    return getattr(job, "job", job)


@dataclass(frozen=True, slots=True)
class ParentOutcome:
    """The outcome of a parent."""

    job_id: str
    state: JobState | None
    """None where nothing is known of it any more."""
    reason: str = ""
    """Why it did not succeed."""
    _type: str = field(default="", repr=False)
    _result: bytes = field(default=b"", repr=False)
    _serializer: str = field(default="pickle", repr=False)

    @property
    def stored(self) -> bytes:
        """Its result as stored; of a signal the whole of it."""
        return self._result

    @property
    def size(self) -> int:
        """Bytes of its result as stored."""
        return len(self._result)

    @property
    def result(self) -> Any:
        """What it returned.

        Raises:
            NaqError: It did not succeed. DecodeError: The result cannot be read here.
        """
        if self.state is not JobState.SUCCEEDED:
            raise NaqError(f"parent {self.job_id} has no result: {self.reason or 'its record has expired'}")
        return decode_result(self._type, self._result, self._serializer) if self._type else None


class Wiring(NamedTuple):
    """What binds a job to others."""

    after: tuple[Parent, ...] = ()
    fill: tuple[Fill, ...] = ()
    tell: bool = False


NO_WIRING = Wiring()


def wire(
    depends_on: DependsOn,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    allow_failure: bool = False,
    tell: bool = False,
    wait_for: Callable[..., Any] | str | None = None,
) -> tuple[Wiring, Sequence[Any], Mapping[str, Any]]:
    """Return the wiring of a call, and its arguments with None in the place of each result to come.

    Raises:
        InvalidOptionError, InvalidNameError: `depends_on` names something that is no job, or one that leaves no record;
            `wait_for` is no name of a signal, or returns none.
    """
    tell = flag(tell, "parent_results")
    parents: dict[tuple[str, str], Parent] = {}
    signals = () if wait_for is None else (signal_parent(wait_for, args, kwargs),)
    for parent in (*signals, *(_parent(each, allow_failure=allow_failure) for each in _listed(depends_on))):
        parents[parent.queue, parent.id] = parent
    for value in (*args, *kwargs.values()):
        if isinstance(value, ResultOf):
            for job in value.jobs:  # named by its id alone before: now its queue is known
                named = parents.pop(("*", job.job_id), None)
                if named is not None:
                    parents[job.queue, job.job_id] = Parent(job.job_id, job.queue, named.lenient)
    fills: list[Fill] = []
    args, kwargs = list(args), dict(kwargs)
    places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for at, value in places:
        if not isinstance(value, ResultOf):
            continue
        for job in value.jobs:
            parents.setdefault((job.queue, job.job_id), _parent(job, allow_failure=allow_failure))
        order = {key: place for place, key in enumerate(parents)}
        fills.append(Fill(at, tuple(order[job.queue, job.job_id] for job in value.jobs), value.many, value.shape))
        if isinstance(at, int):
            args[at] = None
        else:
            kwargs[at] = None
    return Wiring(tuple(parents.values()), tuple(fills), tell), args, kwargs


class _ToCome:
    """A result that is not there yet, as people see it among the arguments."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def with_results_named(wiring: Wiring, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments, with words in the place of each result to come: for previews."""
    args, kwargs = list(args), dict(kwargs)
    for fill in wiring.fill:
        text = f"<{len(fill.of)} results>" if fill.many else f"<result of {wiring.after[fill.of[0]].id}>"
        if isinstance(fill.at, int):
            args[fill.at] = _ToCome(text)
        else:
            kwargs[fill.at] = _ToCome(text)
    return args, kwargs


def extend(wiring: Wiring, depends_on: DependsOn, *, allow_failure: bool = False) -> Wiring:
    """Return the wiring with more parents, the places of the others unchanged.

    Raises:
        InvalidOptionError, InvalidNameError: As `wire`.
    """
    parents = list(wiring.after)
    known = {(parent.queue, parent.id) for parent in parents}
    for each in _listed(depends_on):
        parent = _parent(each, allow_failure=allow_failure)
        if (parent.queue, parent.id) not in known:
            known.add((parent.queue, parent.id))
            parents.append(parent)
    return wiring._replace(after=tuple(parents))


def is_wired(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Return whether an argument stands for a result."""
    for value in args:
        if type(value) is ResultOf:
            return True
    return bool(kwargs) and any(type(value) is ResultOf for value in kwargs.values())


def _listed(depends_on: Any) -> list[Any]:
    if depends_on is None:
        return []
    if isinstance(depends_on, str | Dependency) or hasattr(depends_on, "job_id"):
        return [depends_on]
    try:
        return list(depends_on)
    except TypeError:
        raise InvalidOptionError("depends_on", f"{depends_on!r} is not a job, an id, a Dependency or a list of them") from None


def signal_parent(wait_for: Callable[..., Any] | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parent:
    """Return the signal that a job waits for.

    Raises:
        InvalidOptionError, InvalidNameError: As `wire`.
    """
    name = made_of("wait_for", wait_for, args, kwargs) if callable(wait_for) else wait_for
    return Parent(SIGNAL + check_signal(name))


def _parent(given: Any, *, allow_failure: bool) -> Parent:
    if isinstance(given, Dependency):
        allow_failure, given = given.allow_failure, given.job
    lenient = flag(allow_failure, "allow_failure")
    if isinstance(given, str):
        return Parent(*check_place(given), lenient)
    job = getattr(given, "job", given)  # a SyncJob holds one
    if not hasattr(job, "job_id") or not hasattr(job, "options"):
        raise InvalidOptionError("depends_on", f"{given!r} is not a job, an id or a Dependency")
    if job.options.fast:
        raise InvalidOptionError("depends_on", f"{given!r} has fast=True: it has no record, so nothing can wait for its end")
    return Parent(check_job_id(job.job_id), check_queue(job.queue), lenient)


def shaped(results: Sequence[Any], shape: Sequence[int]) -> list[Any]:
    """Return results as the list, perhaps of lists, that a shape says; without one, as a flat list.

    Args:
        shape: As `Fill.shape`.

    Raises:
        DecodeError: The shape is not that of so many results.
    """
    if not shape:
        return list(results)
    left = iter(results)
    root: list[Any] = []
    open_lists: list[tuple[list[Any], int]] = [(root, 1)]
    try:
        for count in shape:
            while len(open_lists[-1][0]) == open_lists[-1][1]:
                open_lists.pop()
            if count < 0:
                open_lists[-1][0].append(next(left))
            else:
                inner: list[Any] = []
                open_lists[-1][0].append(inner)
                open_lists.append((inner, count))
    except (IndexError, StopIteration):
        raise DecodeError(f"results cannot be nested as {tuple(shape)!r}") from None
    if (
        any(len(items) != count for items, count in open_lists)
        or next(left, shaped) is not shaped
        or not isinstance(root[0], list)
    ):
        raise DecodeError(f"results cannot be nested as {tuple(shape)!r}")
    return root[0]


def fill_in(
    envelope: Envelope, outcomes: Sequence[ParentOutcome], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with the parents' results in their places.

    Raises:
        DecodeError: A result cannot be read here, or is gone.
    """
    args, kwargs = list(args), dict(kwargs)
    for fill in envelope.fill:
        for at in fill.of:
            if outcomes[at].state is not JobState.SUCCEEDED and not envelope.after[at].lenient:
                problem = outcomes[at].reason if outcomes[at].state else "its record has expired (result_ttl)"
                raise DecodeError(f"parent {outcomes[at].job_id} has no result: {problem}")
        results = [each.result if each.state is JobState.SUCCEEDED else None for each in (outcomes[at] for at in fill.of)]
        value = shaped(results, fill.shape) if fill.many else results[0]
        if isinstance(fill.at, int):
            args[fill.at] = value
        else:
            kwargs[fill.at] = value
    return tuple(args), kwargs
