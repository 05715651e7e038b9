"""What is made for people to look at: previews and tracked loops."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePosixPath

import pytest

from naq_core import track
from naq_core.context import JobContext, set_current_job
from naq_core.previews import preview_result


class Colour(Enum):
    RED = 1


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no representation")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "True"),
        (1.5, "1.5"),
        ("", "''"),
        ([1, [2, [3]]], "[1, [2, [3]]]"),
        ({"a": 1, 2: {3}}, "{'a': 1, 2: {3}}"),
        (dict.fromkeys(range(9), 0), "{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, ...}"),
        (set(), "set()"),
        ({}, "{}"),
        (b"ab", "b'ab'"),
        (PurePosixPath("/tmp/x"), "PurePosixPath('/tmp/x')"),
        (Colour.RED, "<Colour.RED: 1>"),
        ([Broken()], f"[<{__name__}.Broken>]"),
        ({1: Broken(), "a": 2}, f"{{1: <{__name__}.Broken>, 'a': 2}}"),
    ],
)
def test_previews_of_results(value: object, text: str) -> None:
    assert preview_result(value) == text


def test_previews_are_short_and_can_be_written() -> None:
    for value in ("x" * 10**6, b"x" * 10**6, list(range(10**6)), 10**4000, {"k" * 999: "v" * 999}, ["\ud800"], 10**5000):
        text = preview_result(value)
        assert 0 < len(text) <= 200
        assert text.encode()


class Reports:
    def __init__(self) -> None:
        self.seen: list[tuple[float, float | None, str]] = []
        set_current_job(
            JobContext(
                job_id="j", queue="q", function="f", attempt=1, _fence=1, enqueued_at=datetime.now(UTC), _report=self.report
            )
        )

    def report(self, done: float, total: float | None, note: str) -> None:
        self.seen.append((done, total, note))


def test_outside_a_job_it_only_iterates() -> None:
    assert list(track([1, 2, 3])) == [1, 2, 3]


def test_a_loop_reports_its_begin_and_its_end() -> None:
    reports = Reports()
    try:
        assert list(track("abc", note="letters")) == ["a", "b", "c"]
        assert (reports.seen[0], reports.seen[-1]) == ((0, 3, "letters"), (3, 3, "letters"))  # and those due in between
        assert sum(track((n for n in range(4)), total=4)) == 6
        assert reports.seen[-1] == (4, 4, "")
    finally:
        set_current_job(None)


async def test_an_asynchronous_loop_does_too() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    reports = Reports()
    assert [number async for number in track(numbers())] == [0, 1, 2]
    assert reports.seen == [(0, None, ""), (3, None, "")]
