"""Running layers of middleware around a call."""

from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from naq_core.control import Cancel
from naq_core.layers import Layer, around, around_plain, in_order, load, origin_of

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
        await around(layers, None, call.awaited)


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


@KINDS
@pytest.mark.parametrize(
    ("what", "error"), [("raise before", ValueError), ("raise after", ValueError), ("replace", KeyError), ("twice", RuntimeError)]
)
async def test_an_error_of_a_layer_has_its_name(kind: Any, what: str, error: type[Exception]) -> None:
    log: Log = []
    with pytest.raises(error) as caught:
        await run(kind, log, ("", what), OSError("x") if what == "replace" else None)
    assert origin_of(caught.value) == f"raised in the middleware tests.unit.core.test_layers:{kind.__name__}"
    assert log[-1].startswith("0: ")


@KINDS
async def test_instructions_are_no_errors(kind: Any) -> None:
    with pytest.raises(Cancel) as caught:
        await run(kind, [], ("cancel",))
    assert origin_of(caught.value) == ""


def test_a_stop_iteration_of_the_function_stays_itself() -> None:
    error = StopIteration(3)
    with pytest.raises(StopIteration) as caught:
        around_plain(layers_of(Plain, [], "", ""), None, Call([], error).plain)
    assert caught.value is error


async def test_async_ones_are_outside_plain_ones() -> None:
    log: Log = []
    given = [Plain("p", log), Async("a", log), Plain("q", log), Async("b", log)]
    assert await around(in_order(load(given, "test").attempt), None, Call(log).awaited)
    assert log == ["+a", "+b", "+p", "+q", "call", "-q", "-p", "-b", "-a"]
