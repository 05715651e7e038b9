"""One client on several event loops, in threads, after a fork, and at the end of the interpreter."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue, SyncQueue, chain, forget_settings, gather, task
from naq_client._shared import shared_queue
from naq_core import Connection, EventLoopError, Job, Settings
from naq_core.testing import WorkerRunner
from tests.integration import work


@task
async def double(number: int) -> int:
    return 2 * number


async def test_the_connection_of_a_loop_ends_with_the_loop(settings: Settings) -> None:
    async def request() -> Connection:
        await double.enqueue(1)
        return await shared_queue(None).connection()

    connections = [await asyncio.to_thread(asyncio.run, request()) for _ in range(3)]
    assert len(set(map(id, connections))) == 3
    assert all(connection.client.is_closed for connection in connections)
    assert await Queue(settings=settings).purge() == 3


async def test_a_queue_works_on_each_loop(queue: Queue, naq_worker: WorkerRunner) -> None:
    both = Queue(settings=queue.settings)
    here = await both.enqueue(work.add, 10, b=20)
    there = await asyncio.to_thread(asyncio.run, _enqueue(both))
    await naq_worker.run_until_idle()
    assert await gather(here, there, timeout=20) == [30, 3], "a job that another loop has enqueued is followed on this one"
    assert await asyncio.to_thread(asyncio.run, there.result(20)) == 3
    await both.close()


async def _enqueue(queue: Queue) -> Job[int]:
    return await queue.enqueue(work.add, 1, b=2)


async def test_a_given_connection_is_refused_on_another_loop_before_anything_is_sent(naq_connection: Connection) -> None:
    queue = Queue(connection=naq_connection)
    with pytest.raises(EventLoopError, match="belongs to another event loop"):
        await asyncio.to_thread(asyncio.run, _enqueue(queue))
    assert await queue.purge() == 0
    with pytest.raises(EventLoopError):
        await asyncio.to_thread(asyncio.run, naq_connection.publish("somewhere", b""))


async def test_a_handle_follows_its_workflow_from_another_loop(settings: Settings, naq_worker: WorkerRunner) -> None:
    handle = await chain(double.s(1), double.s(), double.s()).enqueue()
    await naq_worker.run_until_idle()
    assert await asyncio.to_thread(asyncio.run, handle.result(20)) == 8


async def test_tasks_use_the_settings_of_now_after_forget_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    await double.enqueue(1)
    connection = await shared_queue(None).connection()
    monkeypatch.setenv("NAQ_DEFAULT_QUEUE", "another")
    assert (await double.enqueue(1)).queue == "default"
    forget_settings()
    assert (await double.enqueue(1)).queue == "another"
    assert connection.is_over


def test_a_connection_of_a_loop_that_does_not_run_is_closed_at_once(settings: Settings) -> None:
    """It was left to the last turn of the loop, such as that of a test session: `Task was destroyed but it is pending!`."""

    async def open_one() -> Connection:
        await double.enqueue(1)
        return await shared_queue(None).connection()

    with asyncio.Runner() as runner:
        connection = runner.run(open_one())
        forget_settings()
        assert connection.client.is_closed


def test_the_first_use_of_a_sync_queue_by_many_threads_opens_one_connection(settings: Settings) -> None:
    queue = SyncQueue(settings=settings)
    opened: list[Any] = []
    start = threading.Barrier(8)

    def first_use() -> None:
        start.wait()
        opened.append(queue.enqueue(work.add, 1).job.connection)

    threads = [threading.Thread(target=first_use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert len(set(map(id, opened))) == 1
    queue.close()


def run_program(code: str, settings: Settings, folder: Path) -> str:
    """Run a program of a user's in a process of its own and return what it prints."""
    (folder / "program.py").write_text(code)
    environment = {**os.environ, **settings.as_environment()}
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_follows_the_jobs_of_its_parent(settings: Settings, tmp_path: Path) -> None:
    output = run_program(
        """
import os
from naq_client import SyncQueue, task
queue = SyncQueue()
job = queue.enqueue(int, "1")
pid = os.fork()
if pid == 0:
    import signal
    signal.alarm(40)
    print(job.status(), queue.enqueue(int, "2").status(), flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(job.status(), queue.purge())
""",
        settings,
        tmp_path,
    )
    assert output == "queued queued\nqueued 2\n"


AT_EXIT = (
    "enqueued\n" if sys.version_info[:3] not in {(3, 12, 0), (3, 12, 1)} else "NaqError: the synchronous client cannot start"
)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("atexit.register(enqueue)", AT_EXIT),
        ("class Late:\n    def __del__(self): enqueue()\nlate = Late()", "NaqError: the synchronous client cannot be used"),
    ],
    ids=["atexit", "__del__"],
)
def test_enqueueing_at_the_end_of_the_interpreter_ends(code: str, expected: str, settings: Settings, tmp_path: Path) -> None:
    output = run_program(
        f"""
import atexit
from naq_client import SyncQueue
queue = SyncQueue(nats_url={settings.nats_url.replace("127.0.0.1", "localhost")!r})  # a name, which a thread looks up
def enqueue():
    try:
        queue.enqueue(int, "1")
        print("enqueued", flush=True)
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}", flush=True)
{code}
""",
        settings,
        tmp_path,
    )
    assert output.startswith(expected)


def test_a_module_enqueues_its_own_function_while_it_is_imported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        """
from naq_client import SyncQueue, chain, task

def clean(): ...

@task
def clean_task(): ...

queue = SyncQueue()
jobs = [queue.enqueue(clean), clean_task.enqueue_sync(), *queue.enqueue_many([queue.call(clean)])]
queue.schedule(clean, interval=3600, paused=True)
chain(clean_task.si(), clean_task.si()).enqueue_sync()
"""
    )
    assert run_program("import shop; print(len(shop.jobs), shop.queue.purge())", settings, tmp_path) == "3 5\n"
