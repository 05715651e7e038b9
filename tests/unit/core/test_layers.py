"""Finding layers of middleware, and running them around a call."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from naq_client import task
from naq_core import ConfigurationError, layers
from naq_core.control import Cancel
from naq_core.layers import Layer, Layers, around, around_attempts, around_plain, in_order, load, name_of, of_function, origin_of

Log = list[str]


class Plain:
    """Notes what it sees, and does what it is told."""

    def __init__(self, name: str, log: Log, what: str = "") -> None:
        self.name, self.log, self.what = name, log, what

    def attempt(self, subject: object) -> Generator[None, None, None]:
        del subject
        self.log.append(f"+{self.name}")
        if self.what == "skip":
            return
        if self.what == "raise before":
            raise ValueError(self.name)
        try:
            yield
        except BaseException as error:
            self.log.append(f"{self.name}: {error!r}")
            if self.what == "replace":
                raise KeyError(self.name) from error
            if self.what != "catch":
                raise
        self.log.append(f"-{self.name}")
        if self.what == "raise after":
            raise ValueError(self.name)
        if self.what == "cancel":
            raise Cancel("no")
        if self.what == "twice":
            yield


class Async(Plain):
    async def attempt(self, subject: object) -> AsyncIterator[None]:  # type: ignore[override]
        steps = super().attempt(subject)
        try:
            next(steps)
        except StopIteration:
            return
        try:
            yield
        except BaseException as error:
            try:
                steps.throw(error)
            except StopIteration:
                return
        try:
            next(steps)
        except StopIteration:
            return
        yield


def layers_of(kind: Any, log: Log, *what: str) -> list[Layer]:
    return in_order(load([kind(str(number), log, each) for number, each in enumerate(what)], "test").attempt)


class Call:
    """What is called within layers; plain or async."""

    def __init__(self, log: Log, error: BaseException | None = None) -> None:
        self.log, self.error = log, error

    def plain(self) -> None:
        self.log.append("call")
        if self.error is not None:
            raise self.error

    async def awaited(self) -> None:
        self.plain()


async def run(kind: Any, log: Log, what: tuple[str, ...], error: BaseException | None = None) -> None:
    layers, call = layers_of(kind, log, *what), Call(log, error)
    if kind is Plain:
        around_plain(layers, None, call.plain)
    else:
        is_done = await around(layers, None, call.awaited)
        assert is_done == (error is None and "skip" not in what)


KINDS = pytest.mark.parametrize("kind", [Plain, Async])


@KINDS
async def test_they_are_entered_in_order_and_left_in_reverse(kind: Any) -> None:
    log: Log = []
    await run(kind, log, ("", "", ""))
    assert log == ["+0", "+1", "+2", "call", "-2", "-1", "-0"]


@KINDS
async def test_a_skip_leaves_out_all_that_is_inside(kind: Any) -> None:
    log: Log = []
    await run(kind, log, ("", "skip", ""))
    assert log == ["+0", "+1", "-0"]


@KINDS
async def test_an_error_goes_outwards_until_it_is_caught(kind: Any) -> None:
    log: Log = []
    await run(kind, log, ("", "catch", ""), OSError("x"))
    assert log == ["+0", "+1", "+2", "call", "2: OSError('x')", "1: OSError('x')", "-1", "-0"]


@KINDS
async def test_an_error_that_passes_through_is_the_same(kind: Any) -> None:
    error = OSError("x")
    with pytest.raises(OSError, match="x") as caught:
        await run(kind, [], ("", ""), error)
    assert caught.value is error
    assert origin_of(error) == ""
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names.count("plain") == 1
    assert "attempt" not in names, "the layers that it has passed are not to blame"


@KINDS
@pytest.mark.parametrize(
    ("what", "error"), [("raise before", ValueError), ("raise after", ValueError), ("replace", KeyError), ("twice", RuntimeError)]
)
async def test_an_error_of_a_layer_has_its_name(kind: Any, what: str, error: type[Exception]) -> None:
    log: Log = []
    with pytest.raises(error) as caught:
        await run(kind, log, ("", what), OSError("x") if what == "replace" else None)
    note = f"raised in the middleware tests.unit.core.test_layers:{kind.__name__}"
    assert origin_of(caught.value) == note
    assert caught.value.__notes__ == [note], "it is said once"
    assert log[-1].startswith("0: ")


@KINDS
async def test_instructions_are_no_errors(kind: Any) -> None:
    with pytest.raises(Cancel) as caught:
        await run(kind, [], ("cancel",))
    assert origin_of(caught.value) == ""


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, GeneratorExit])
def test_what_ends_generators_stays_itself_when_a_function_raises_it(kind: type[BaseException]) -> None:
    error = kind(3)
    log: Log = []
    with pytest.raises(kind) as caught:
        around_plain(layers_of(Plain, log, "", ""), None, Call(log, error).plain)
    assert caught.value is error
    assert error.__context__ is None


async def test_a_stop_async_iteration_of_the_function_passes_through_async_layers() -> None:
    with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
        await run(Async, [], ("", ""), StopIteration(3))
    error = StopAsyncIteration(3)
    with pytest.raises(StopAsyncIteration) as caught:
        await run(Async, [], ("", ""), error)
    assert caught.value is error


async def test_a_generator_that_is_closed_by_an_event_loop_awaits_nothing() -> None:
    log: Log = []

    async def call() -> None:
        await asyncio.get_running_loop().create_future()

    chain: Any = around(layers_of(Async, log, ""), None, call)
    chain.send(None)
    chain.close()
    assert log == ["+0"]


async def test_async_ones_are_outside_plain_ones() -> None:
    log: Log = []
    given = [Plain("p", log), Async("a", log), Plain("q", log), Async("b", log)]
    assert await around(in_order(load(given, "test").attempt), None, Call(log).awaited)
    assert log == ["+a", "+b", "+p", "+q", "call", "-q", "-p", "-b", "-a"]


async def test_an_error_that_is_caught_means_that_it_was_not_done() -> None:
    assert not await around(layers_of(Async, [], "catch"), None, Call([], OSError()).awaited)
    assert not await around(layers_of(Async, [], "skip"), None, Call([]).awaited)
    assert await around([], None, Call([]).awaited)


class Closed:
    """Yields twice, and notes that it was closed."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def enqueue(self, jobs: object) -> Generator[None, None, None]:
        yield
        try:
            yield
        finally:
            self.log.append("closed")

    async def attempt(self, attempt: object) -> AsyncIterator[None]:
        yield
        try:
            yield
        finally:
            self.log.append("closed")


async def test_one_that_yields_twice_is_closed() -> None:
    log: Log = []
    found = load([Closed(log)], "test")
    for layer in (*found.enqueue, *found.attempt):
        with pytest.raises(RuntimeError, match="it yielded twice"):
            await around([layer], None, Call([]).awaited)
    assert log == ["closed", "closed"]


def test_notes_of_others_are_not_an_origin() -> None:
    error = ValueError("x")
    for note in ("raised in the middleware m:A", "a note", "raised in the middleware m:B", "raised by hand"):
        error.add_note(note)
    error.__notes__.append(3)  # type: ignore[arg-type]  # anything can be put there
    assert origin_of(error) == "raised in the middleware m:B"
    assert origin_of(ValueError()) == ""


class Both:
    """Has both sides, for some queues."""

    made = 0
    queues = ("mail", "web")

    def __init__(self) -> None:
        type(self).made += 1

    def enqueue(self, jobs: object) -> Generator[None, None, None]:
        yield

    async def attempt(self, attempt: object) -> AsyncIterator[None]:
        yield


class OneSide:
    """Has one side, for all queues; the other one is switched off."""

    enqueue = None

    def attempt(self, attempt: object) -> Generator[None, None, None]:
        yield


one = OneSide()
HERE = __name__


def test_names_classes_and_instances_are_found_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_instances", {})
    Both.made = 0
    given = [f"{HERE}:Both", Both, f"{HERE}:one", one, Both(), f"{HERE}:Both"]
    found = load(given, "test")
    assert Both.made == 2, "one instance of each class, beside those that are given"
    name = f"{HERE}:Both"
    assert [layer.name for layer in found.enqueue] == [name, name, name, name]
    assert [layer.name for layer in found.attempt] == [name, name, f"{HERE}:one", f"{HERE}:OneSide", name, name]
    assert [layer.is_async for layer in found.attempt] == [True, True, False, False, True, True]
    assert {layer.is_async for layer in found.enqueue} == {False}
    assert found.enqueue[0].queues == {"mail", "web"}
    assert found.attempt[2].queues == frozenset()
    instances = [layer.begin.__self__ for layer in found.enqueue]  # type: ignore[attr-defined]
    assert instances[0] is instances[1] is instances[3]
    assert instances[2] is given[4]
    assert [name_of(each) for each in ("a:b", Both, one)] == ["a:b", name, f"{HERE}:OneSide"]


class Unhashable(OneSide):
    """Cannot be a key, as a dataclass cannot."""

    __hash__ = None  # type: ignore[assignment]


def test_an_instance_need_not_be_hashable() -> None:
    given = Unhashable()
    assert load([given], "test").attempt[0].begin.__self__ is given  # type: ignore[attr-defined]


class Wrong:
    """Is built wrong in each of its parts."""

    def __init__(self, queues: object = (), attempt: object = one.attempt) -> None:
        self.queues, self.attempt = queues, attempt


def plain(attempt: object) -> None:
    """Does not yield."""


async def coroutine(attempt: object) -> None:
    """Does not yield."""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("nowhere.at_all:x", "nowhere.at_all:x cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:Both.nothing", f"{HERE}:Both.nothing cannot be imported: AttributeError"),
        (object(), "builtins:object has neither a method enqueue nor a method attempt"),
        (Call, f"{HERE}:Call cannot be made without arguments: TypeError"),
        (Wrong("mail"), "its queues must be a list of names, not 'mail'"),
        (Wrong(3), "its queues must be a list of names, not 3"),
        (Wrong(["mail", 3]), "its queues must be a list of names"),
        (Wrong(attempt=plain), r"its attempt is not a generator with one yield: def attempt\(self, attempt\)"),
        (Wrong(attempt=coroutine), "its attempt is not a generator with one yield"),
    ],
)
def test_a_wrong_one_is_refused_with_the_reason(given: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        load([given], "naq.toml")
    assert "naq.toml" in str(caught.value)


def test_those_of_a_task_are_inside_and_those_of_other_queues_left_out() -> None:
    @task(middleware=[OneSide, Both])
    def owned() -> None: ...

    @task
    def bare() -> None: ...

    given = load([one, Both], "test")
    both = f"{HERE}:Both"
    assert [layer.name for layer in around_attempts(given, "mail", owned)] == [both, both, f"{HERE}:OneSide", f"{HERE}:OneSide"]
    assert [layer.name for layer in around_attempts(given, "mail", bare)] == [both, f"{HERE}:OneSide"]
    assert [layer.name for layer in around_attempts(given, "other", owned)] == [f"{HERE}:OneSide"] * 2
    assert of_function(owned) == of_function(owned.__naq_function__)
    assert of_function(bare) == of_function(len) == of_function([]) == Layers()
    assert of_function(owned) is of_function(owned), "they are found once"
