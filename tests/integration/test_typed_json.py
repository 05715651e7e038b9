"""With the JSON serializer a value arrives as what the function's annotations say, or is refused; never as another value."""

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from naq_client import Queue, group
from naq_core import DecodeError, EncodeError, InvalidCallError, Job, JobFailedError, Settings
from naq_core.signatures import check_call
from naq_core.testing import WorkerRunner
from naq_core.typed_json import convert_arguments, encode_json
from tests.integration import typed_work
from tests.integration.typed_work import Holder, Money, Order, Point, example

pytestmark = pytest.mark.naq(job_serializer="json", allowed_functions=["tests.integration.typed_work:*"])

TYPES = ["Order", "UUID", "datetime", "Customer", "dict", "int", "int", "Money", "Size", "frozenset", "bytes", "Point"]


@pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
async def test_arguments_and_results_have_their_types(queue: Queue, naq_worker: WorkerRunner, process: bool) -> None:
    options = queue.options(process=process)
    types = await options.enqueue(typed_work.types_of, example())
    many = await options.enqueue(typed_work.types_of, example(), example(), note="x", tip=Money(5))
    same = await options.enqueue(typed_work.same, example())
    await naq_worker.run_until_idle()
    assert await types.result(0) == [*TYPES, "NoneType"]
    assert await many.result(0) == ["Order", *TYPES, "str", "Money"]
    assert await same.result(0) == example()
    assert await Job.fetch_result(same.job_id) == {**_plain(example())}, "without the function, plain data"


def _plain(order: Order) -> dict[str, Any]:
    return {
        "number": "00000000-0000-0000-0000-000000000007",
        "at": "2026-01-02T03:00:00Z",
        "customer": {"name": "Ada", "since": "1843-01-01T00:00:00Z"},
        "lines": {"1": "0.1", "2": "19.99"},
        "price": "20.09",
        "size": "large",
        "tags": list(order.tags),
        "seal": "/wA=",
        "place": {"x": 3, "y": 0},
    }


async def test_results_of_parents_are_converted_too(queue: Queue, naq_worker: WorkerRunner) -> None:
    orders = group([queue.s(typed_work.same, example()), queue.s(typed_work.same, replace(example(), price=Money(1)))])
    handle = await (orders | queue.s(typed_work.total)).enqueue(queue)
    await naq_worker.run_until_idle()
    assert await handle.result(20) == Money(2010)


async def test_what_does_not_fit_is_refused_at_enqueue_with_its_path(queue: Queue) -> None:
    wrong = _plain(example()) | {"place": {"x": "left"}}
    with pytest.raises(EncodeError, match=r"typed_work:same: argument 'order' does not fit.*`int`, got `str` - at `\$.place.x`"):
        await queue.enqueue(typed_work.same, wrong)
    with pytest.raises(EncodeError, match=r"(?s)argument 'order' does not fit.*customer"):
        await queue.enqueue(typed_work.same, _plain(example()) | {"customer": {"name": "Ada"}})
    assert await queue.purge() == 0


async def test_what_does_not_fit_ends_the_job_where_only_the_name_was_known(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.options(max_retries=3).enqueue("tests.integration.typed_work:same", {"number": 1})
    await naq_worker.run_until_idle()
    with pytest.raises(JobFailedError, match=r"DecodeError: argument 'order' does not fit its annotation: .*\$.number"):
        await job.result(0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"price": [math.nan]}, Money, object(), {(1, 2): 3}, "\ud800"])
async def test_what_has_no_faithful_form_is_refused(queue: Queue, value: Any) -> None:
    with pytest.raises(EncodeError, match="cannot be written as JSON"):
        await queue.enqueue(typed_work.anything, value)
    assert await queue.purge() == 0


async def test_a_model_with_other_names_in_its_json_arrives(queue: Queue, naq_worker: WorkerRunner) -> None:
    holder = Holder.model_validate({"ownerName": "Ada", "IBAN": "DE1"})
    job = await queue.enqueue(typed_work.same_holder, holder)
    by_alias = await queue.enqueue(typed_work.same_holder, {"ownerName": "Ada", "IBAN": "DE1"})
    await naq_worker.run_until_idle()
    assert (await job.result(0), await by_alias.result(0)) == (holder, holder)


@pytest.mark.parametrize(("field", "value"), [("pin", "1234"), ("limit", 5)])
async def test_a_model_that_would_arrive_as_another_one_is_refused(queue: Queue, field: str, value: Any) -> None:
    """A `SecretStr` arrived as asterisks."""
    holder = Holder(ownerName="Ada", **{field: value})
    with pytest.raises(EncodeError, match=f"cannot be written as JSON: Holder loses the value of {field};") as caught:
        await queue.enqueue(typed_work.same_holder, holder)
    assert "1234" not in str(caught.value)
    with pytest.raises(EncodeError, match=f"loses the value of {field};"):
        await queue.enqueue(typed_work.anything, [holder])


async def test_a_result_without_a_faithful_form_is_the_jobs_error(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.enqueue(eval_nan)
    await naq_worker.run_until_idle()
    with pytest.raises(JobFailedError, match="the result cannot be written as JSON: NaN"):
        await job.result(0)


def eval_nan() -> float:
    return math.nan


eval_nan.__module__, eval_nan.__qualname__ = typed_work.__name__, "eval_nan"
typed_work.eval_nan = eval_nan  # type: ignore[attr-defined]  # so that the allow-list names it


@pytest.mark.parametrize("value", [None, [None, 1.5], 2**63, 2**64 - 1, -(2**63), 2**70, 1.7976931348623157e308, "é"])
async def test_plain_values_arrive_as_they_are(queue: Queue, naq_worker: WorkerRunner, value: Any) -> None:
    job = await queue.enqueue(typed_work.anything, value)
    await naq_worker.run_until_idle()
    assert await job.result(0) == value


def test_annotations_that_cannot_be_used_stand_for_any_value() -> None:
    def function(a: "Missing", b: "Point", c: "typed_work.Order | Missing" = None, **rest: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert convert_arguments(function, (1, {"x": 2}), {"c": 3, "d": 4}) == ((1, Point(2)), {"c": 3, "d": 4})
    assert convert_arguments(len, ([1],), {}) == (([1],), {})


def test_a_default_of_none_allows_none() -> None:
    def function(number: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert convert_arguments(function, (None,), {}) == ((None,), {})
    with pytest.raises(DecodeError, match="argument 'number'"):
        convert_arguments(function, ("1",), {})


ONE, TWO = Point(1), Point(2)


def passing_on(function: Callable[..., Any]) -> Any:
    """Return what most decorators make of a function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def two_points(first: Point, second: Point) -> None:
    """Take two points."""


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (({"x": 1}, {"x": 2}), {}, ((ONE, TWO), {})),
        (({"x": 2},), {}, ((TWO,), {})),  # what the decorator adds comes first
        (("x", {"x": 2}), {"note": 3}, (("x", {"x": 2}), {"note": 3})),  # no arguments of the wrapped function
        ((), {"second": {"x": 2}}, ((), {"second": TWO})),
    ],
)
def test_arguments_of_a_decorated_function_are_those_that_the_decorator_leaves(
    args: tuple[Any, ...], kwargs: dict[str, Any], expected: Any
) -> None:
    """A decorator that adds an argument was refused: the annotation was that of another parameter."""
    assert convert_arguments(passing_on(two_points), args, kwargs) == expected


def test_what_fits_no_parameter_of_a_decorated_function_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"argument 'second' does not fit .*set __signature__ on what it returns"):
        convert_arguments(passing_on(two_points), ("x",), {})


def test_a_decorator_may_say_what_it_takes() -> None:
    number = passing_on(two_points)
    number.__signature__ = inspect.Signature([inspect.Parameter("number", inspect.Parameter.POSITIONAL_ONLY, annotation=UUID)])
    assert convert_arguments(number, (str(UUID(int=7)),), {}) == ((UUID(int=7),), {})
    assert convert_arguments(passing_on(number), (str(UUID(int=7)),), {}) == ((UUID(int=7),), {})
    check_call(number, ("7",), {})
    with pytest.raises(InvalidCallError):
        check_call(number, (), {})
    check_call(passing_on(number), (), {})  # its `__signature__` is a copy


async def test_a_decorator_that_adds_an_argument_runs_with_the_others_converted(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.enqueue(typed_work.charged, example())
    await naq_worker.run_until_idle()
    assert await job.result(0) == ["test", "Order"]


def test_the_pickle_serializer_converts_nothing(settings: Settings) -> None:
    job: Job[Any] = Job(typed_work.same, [{"number": 1}], serializer="pickle")
    assert Job.deserialize(job.serialize(), serializer="pickle").args == ({"number": 1},)


def test_null_is_not_taken_for_nan() -> None:
    assert encode_json({"a": None, "b": "null"}, "it") == b'{"a":null,"b":"null"}'
