"""`naq top`: its screen, driven by Textual's pilot on a real server."""

import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pexpect
import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from naq_cli._output import Output
from naq_cli._session import Session
from naq_cli.top import reading
from naq_cli.top.screen import Top, selected_key
from naq_client import Queue
from naq_core import Connection, JobState
from naq_core.audit import read_trail
from naq_core.inspect import get_queue
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.views import JobFilter
from tests.cli.commands import naq, run
from tests.cli.terminal import terminal
from tests.conftest import RunWorker
from tests.support.eventually import eventually

Pilots: TypeAlias = Pilot[None]
EVERYTHING = JobFilter()


@pytest.fixture(autouse=True)
def _time_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it look longer for jobs than usual: on a busy machine a list would end before it has found any."""
    monkeypatch.setattr(reading, "SECONDS", 10.0)


def bake(loaves: int) -> int:
    logging.getLogger("bakery").warning("loaf %d is [bold]rather[/] dark", loaves)
    if loaves == 13:
        raise ValueError("no luck")
    return loaves


@asynccontextmanager
async def shown(connection: Connection, wanted: JobFilter = EVERYTHING) -> AsyncIterator[Pilots]:
    app = Top(Session(connection, Output()), wanted, seconds=0.2)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.picture is not None)
        yield pilot


async def until(pilot: Pilots, condition: Callable[[], Any]) -> None:
    async def holds() -> bool:
        await pilot.pause()
        return bool(condition())

    await eventually(holds, interval=0.1)


def head(pilot: Pilots) -> str:
    return str(pilot.app.screen_stack[0].query_one("#head", Static).content)


def rows(pilot: Pilots, pane: str) -> list[list[str]]:
    table = pilot.app.screen_stack[0].query_one(f"#{pane}-table", DataTable)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


async def test_it_shows_what_is_there_and_what_happens(naq_connection: Connection, queue: Queue, run_worker: RunWorker) -> None:
    async with shown(naq_connection) as pilot:
        assert rows(pilot, "queues") == []
        bad = await queue.enqueue(bake, 13)
        await until(pilot, lambda: rows(pilot, "queues"))
        async with run_worker():
            await until(pilot, lambda: rows(pilot, "failures"))
            good = await queue.enqueue(bake, 2)
            await until(pilot, lambda: len(rows(pilot, "jobs")) == 2 and rows(pilot, "jobs")[0][1] == "succeeded")
            assert len(rows(pilot, "workers")) == 1
            assert "1 worker, 0 of 10 slots busy" in head(pilot)
        assert [row[0] for row in rows(pilot, "jobs")] == [good.job_id, bad.job_id]
        assert rows(pilot, "failures")[0][-1] == "ValueError: no luck"


async def test_a_queue_is_paused_and_resumed_by_key(naq_connection: Connection, queue: Queue) -> None:
    await queue.enqueue(bake, 1)
    async with shown(naq_connection) as pilot:
        await until(pilot, lambda: rows(pilot, "queues"))
        await pilot.press("p")
        await until(pilot, lambda: rows(pilot, "queues")[0][1] == "paused")
        assert (await get_queue(naq_connection, "default")).paused
        await pilot.press("p")
        await until(pilot, lambda: rows(pilot, "queues")[0][1] == "open")
    trail = await read_trail(naq_connection)
    assert [entry.action for entry in trail.entries] == ["resume-queue", "pause-queue"]


async def test_a_dead_job_is_read_and_retried_by_key(naq_connection: Connection, queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.enqueue(bake, 13)
        with pytest.raises(Exception, match="no luck"):
            await job.result(timeout=20)
    async with shown(naq_connection) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: selected_key(pilot.app.query_one("#failures-table", DataTable)))
        await pilot.press("l")
        await until(pilot, lambda: "no luck" in str(pilot.app.screen.query_one("#job", Static).content))
        text = str(pilot.app.screen.query_one("#job", Static).content)
        assert "WARNING  loaf 13 is [bold]rather[/] dark" in text
        assert "Traceback" in text
        await pilot.press("escape", "r")
        await until(pilot, lambda: not rows(pilot, "failures"))
        assert await job.status() is JobState.QUEUED
        await pilot.press("p")  # does nothing here
        assert not (await get_queue(naq_connection, "default")).paused


async def test_a_filter_chooses_jobs_and_a_selected_one_stays_selected(naq_connection: Connection, queue: Queue) -> None:
    async def add(number: int, tag: str = "cake") -> None:
        await queue.options(job_id=f"job-{number}", tags=[tag]).enqueue(bake, 1)

    for number in range(3):
        await add(number)
    await add(9, "bread")
    async with shown(naq_connection, JobFilter(tags=("cake",))) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: [row[0] for row in rows(pilot, "jobs")] == ["job-2", "job-1", "job-0"])
        assert rows(pilot, "queues")[0][2] == "4"
        await pilot.press("down")
        table = pilot.app.query_one("#jobs-table", DataTable)
        assert selected_key(table) == "job-1@default"
        await add(3)
        await until(pilot, lambda: len(rows(pilot, "jobs")) == 4 and selected_key(table) == "job-1@default")


async def test_a_server_that_goes_away_is_said_and_what_was_read_stays(namespace: str) -> None:
    with EmbeddedServer() as server:
        settings = Settings(nats_url=server.url, namespace=namespace)
        async with Queue(settings=settings) as queue:
            await queue.enqueue(bake, 1)
            async with shown(await queue.connection()) as pilot:
                await until(pilot, lambda: rows(pilot, "queues"))
                server.stop()
                await until(pilot, lambda: "slots busy" not in head(pilot))
                assert rows(pilot, "queues")
                server.start()
                await until(pilot, lambda: "slots busy" in head(pilot))


def test_without_textual_it_says_what_to_install(here: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError(name='textual')")
    done = run("naq_cli", "top", PYTHONPATH=str(tmp_path), **here)
    assert done.returncode == 127
    assert "pip install 'naq-cli[top]'" in done.stderr


def test_in_a_pipe_it_names_the_command_for_programs(here: dict[str, Any]) -> None:
    done = naq("top", **here)
    assert done.returncode == 2
    assert "naq stats --watch --jsonl" in done.stderr


def test_in_a_terminal_it_ends_with_q_and_with_a_signal(here: dict[str, Any]) -> None:
    for by_key in (True, False):
        child = terminal("top", **here)
        child.expect("Failures")
        child.expect("0 workers")
        if by_key:
            child.send("q")
        else:
            child.kill(signal.SIGTERM)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == (0 if by_key else 128 + signal.SIGTERM)


async def test_a_list_that_takes_long_goes_on_and_stays(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SECONDS", 0.0)
    old = [await queue.options(tags=["vip"]).enqueue(bake, number) for number in range(2)]
    await queue.enqueue_many(queue.call(bake, number) for number in range(600))
    reader = reading.PictureReader(await queue.connection(), JobFilter(tags=("vip",)))
    first = await reader.read()
    assert first.jobs == []

    async def are_found() -> None:
        assert {each.job_id for each in (await reader.read()).jobs} == {each.job_id for each in old}

    await eventually(are_found)
    for _ in range(10):  # a few of which begin at the newest job again
        await are_found()
    reader._jobs._cursor = "1"  # of a list with other parts, as before a queue has come
    await are_found()
    await eventually(are_found)
