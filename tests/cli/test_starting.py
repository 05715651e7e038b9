"""Commands in a process as cron, supervisors and containers start it: closed descriptors, process 1."""

import asyncio
import signal
import subprocess
import sys

import pytest

from naq_client import Queue
from naq_core import Settings
from tests.cli.commands import environment, wait_for_line
from tests.integration import work

CLOSED = ["<&-", ">&-", "<&- >&- 2>&-"]

INIT = """
import ctypes, os, signal, sys, time
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # its orphans come to this process, as to process 1
from naq_core.starting import fork_from_init
fork_from_init()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
if (middle := os.fork()) == 0:
    if os.fork() == 0:
        os._exit(0)
    os._exit(0)
os.waitpid(middle, 0)
children = f"/proc/{os.getppid()}/task/{os.getppid()}/children"
while open(children).read().split() != [str(os.getpid())]:
    time.sleep(0.01)
print("alone", flush=True)
time.sleep(60)
"""


def _closed(module: str, *arguments: str, redirections: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m "$@" {redirections}', sys.executable, module, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("redirections", CLOSED)
async def test_a_worker_runs_jobs_with_closed_descriptors(redirections: str, settings: Settings, queue: Queue) -> None:
    jobs = [await queue.options(process=process).enqueue(work.add, 1, 2) for process in (False, True)]
    done = await asyncio.to_thread(_closed, "naq_worker", "--burst", redirections=redirections, settings=settings)
    assert done.returncode == 0, done.stderr
    assert [await job.result(10) for job in jobs] == [3, 3]


async def test_a_command_that_would_ask_is_refused_without_standard_input(settings: Settings, queue: Queue) -> None:
    await queue.enqueue(work.add, 1)
    done = await asyncio.to_thread(_closed, "naq_cli", "queue", "purge", "default", redirections="<&-", settings=settings)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a child subreaper")
def test_the_first_process_of_a_container_reaps_and_passes_signals_on() -> None:
    with subprocess.Popen([sys.executable, "-c", INIT], stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_for_line(process.stdout, "alone")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 7
        finally:
            process.kill()
