"""Resources that depend on each other, and that do not close."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from naq_core import opened
from naq_core.errors import ResourceError
from naq_core.opened import OpenResources
from naq_core.resources import GivenCall, needs_of, resource


async def test_one_that_does_not_close_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(opened, "CLOSING", 0.1)
    closed = []

    async def stubborn() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("stubborn")

    async def first() -> AsyncIterator[int]:  # without a thread, which may take longer than that
        yield 2
        closed.append("first")

    resources = OpenResources(asyncio.to_thread)
    assert [await resources.get(resource(each)) for each in (first, stubborn, stubborn)] == [2, 1, 1]
    await resources.close()
    assert "test_opened:test_one_that_does_not_close_is_given_up.<locals>.stubborn was not closed within 0.1 s" in caplog.text
    assert closed == ["first", "stubborn"]
    assert not resources


def test_one_that_needs_itself_is_refused() -> None:
    def egg(hen: "Annotated[int, hen]") -> Iterator[int]:
        yield hen

    def hen(egg: Any = resource(egg)) -> Iterator[int]:  # noqa: B008 - as users write it
        yield egg

    egg.__annotations__["hen"] = Annotated[int, resource(hen)]
    with pytest.raises(ResourceError, match=r"egg: needs itself: \S+egg → \S+hen → \S+egg$"):
        OpenResources(asyncio.to_thread).layers(hen)


@pytest.mark.parametrize(("args", "kwargs"), [((1, 3), {}), ((1,), {"c": 3}), ((), {"a": 1, "c": 3})])
def test_values_go_to_their_places(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    one = resource(iter)

    def function(a: int, b: int = one, c: int = 0, *, d: int = one) -> list[int]:
        return [a, b, c, d]

    call = GivenCall(function, args, kwargs)
    for need in reversed(needs_of(function)):
        call.give(need, 4 if need.parameter == "d" else 2)
    assert call.call() == [1, 2, 3, 4]
