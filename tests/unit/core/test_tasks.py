"""Tasks with an owner: nobody's error is lost, and what must not be torn apart is not."""

from __future__ import annotations

import ast
import asyncio
import gc
import warnings
from pathlib import Path
from typing import Literal

import pytest

from naq_core.tasks import Background, beside, end, finish, services, until

PACKAGES = Path(__file__).resolve().parents[3] / "packages"
OWNERS = {"naq_core/tasks.py"}
GROUPS = {"group", "firings"}
"""Names of task groups, in whose `async with` their tasks are started."""


class BoomError(Exception):
    pass


async def fail() -> None:
    raise BoomError


async def for_ever() -> None:
    await asyncio.Event().wait()


class Begun(asyncio.Event):
    """An event that says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.begun.set()
        return await super().wait()


def bare_starts(source: str) -> list[int]:
    """Return the lines on which a task is started that no task group owns."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        is_owned = name == "create_task" and isinstance(owner, ast.Name) and owner.id in GROUPS
        if name in {"create_task", "ensure_future"} and not is_owned:
            found.append(node.lineno)
    return found


def test_every_task_of_the_packages_has_an_owner() -> None:
    files = [path for path in PACKAGES.glob("*/src/**/*.py") if not any(path.as_posix().endswith(each) for each in OWNERS)]
    assert len(files) > 100
    found = {f"{path.name}:{line}" for path in files for line in bare_starts(path.read_text(encoding="utf-8"))}
    assert found == set()
    assert bare_starts("loop.create_task(run())\nasyncio.ensure_future(run())") == [1, 2]


async def test_an_error_of_a_service_cancels_the_body_and_is_raised_itself() -> None:
    async def run() -> None:
        async with services() as running:
            running.start(for_ever(), "one")
            running.start(fail(), "two")
            await for_ever()

    with pytest.raises(BoomError):
        await run()


async def test_services_end_with_the_body() -> None:
    async with services() as running:
        running.start(for_ever(), "one")
        await asyncio.sleep(0)
    assert [task.cancelled() for task in running.tasks] == [True]


def test_what_must_be_finished_is_finished_although_the_program_ends() -> None:
    done = []

    async def hand_back(cancelled: asyncio.Event) -> None:
        await cancelled.wait()
        await asyncio.sleep(0)
        done.append("handed back")

    async def main() -> None:
        cancelled = asyncio.Event()
        task = asyncio.create_task(finish(hand_back(cancelled), lambda _: cancelled.set()))
        await asyncio.sleep(0)
        assert not task.done()

    asyncio.run(main())
    assert done == ["handed back"]


async def test_a_cancellation_is_raised_after_the_end_however_often_it_comes() -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()
    over = Begun()
    task = asyncio.create_task(finish(over.wait(), lambda _: asked.put_nowait(1)))
    await over.begun.wait()
    for _ in range(3):
        task.cancel()
        await asked.get()
    over.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked.empty()


async def test_until_an_event_something_runs_and_a_little_longer() -> None:
    stop = asyncio.Event()
    assert await until(stop, asyncio.sleep(0))
    with pytest.raises(BoomError):
        await until(stop, fail())
    asyncio.get_running_loop().call_soon(stop.set)
    assert not await until(stop, for_ever())
    assert await until(stop, asyncio.sleep(0), grace=60)


async def test_until_ends_with_its_caller() -> None:
    never = Begun()
    task = asyncio.create_task(until(asyncio.Event(), never.wait(), grace=60))  # type: ignore[arg-type]
    await never.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_error_of_a_background_task_reaches_its_owner() -> None:
    told: asyncio.Queue[BaseException] = asyncio.Queue()
    background = Background(told.put_nowait)
    _ = background.start(fail())
    _ = background.start(for_ever())
    assert type(await told.get()) is BoomError
    await background.close()
    assert told.empty()
    assert not background.tasks


async def test_what_runs_beside_a_body_ends_with_it() -> None:
    async with beside(for_ever()) as task:
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_what_could_not_begin_beside_a_body_leaves_no_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        async with beside(for_ever()):
            pass
        gc.collect()
    assert caught == []


async def test_a_swallowed_cancellation_is_repeated() -> None:
    async def swallow_once() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            await for_ever()

    task = asyncio.create_task(swallow_once())
    await asyncio.sleep(0)
    await end(task, every=0.01)
    assert task.cancelled()
