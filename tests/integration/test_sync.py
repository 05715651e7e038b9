"""The synchronous façade, against a worker in a process of its own."""

import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from naq_client import Queue, SyncQueue
from naq_core import JobState, Settings
from naq_core.server import EmbeddedServer
from tests.integration import work


@pytest.fixture
def worker_process(settings: Settings) -> Iterator[None]:
    environment = {**os.environ, "NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    with subprocess.Popen([sys.executable, "-m", "naq_worker", "default"], env=environment) as process:
        yield
        process.terminate()


def test_it_enqueues_and_waits_from_any_thread(settings: Settings, worker_process: None) -> None:
    results: list[int] = []
    with SyncQueue(settings=settings) as queue:
        threads = [threading.Thread(target=lambda n=n: results.append(queue.enqueue(work.add, n).result(20))) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [0, 1, 2, 3, 4]
        many = queue.enqueue_many([queue.call(work.add, n) for n in range(3)])
        assert many.atomic
        assert [job.result(20) for job in many] == [0, 1, 2]
        job = queue.options(max_retries=1).enqueue(work.add, 7)
        assert (job.result(20), job.status()) == (7, JobState.SUCCEEDED)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_connects_anew(nats_server: EmbeddedServer, settings: Settings) -> None:
    """In a process of its own: forking the test process with its threads would be another test."""
    code = (
        "import os, json\n"
        "from naq_client import SyncQueue\n"
        "queue = SyncQueue('forked')\n"
        "queue.enqueue(json.dumps, 1)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    queue.enqueue(json.dumps, 2); os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "print(queue.purge())\n"
    )
    environment = {**os.environ, "NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_both_queues_have_the_same_methods() -> None:
    def public(cls: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(cls, callable) if not name.startswith("_")}

    assert public(Queue) - {"connection"} == public(SyncQueue)


def test_events_come_one_after_the_other(settings: Settings, worker_process: None) -> None:
    with SyncQueue(settings=settings) as queue:
        for number in range(20):  # the first ones may be over before the server knows that somebody listens
            queue.enqueue(work.sleep, number / 10)
        feed = queue.events()
        ended = next(event for event in feed if event.kind == "succeeded")
        assert (ended.queue, ended.function) == ("default", "tests.integration.work:sleep")
        assert queue.job(ended.job_id).view().state is JobState.SUCCEEDED
        feed.close()  # type: ignore[attr-defined]
