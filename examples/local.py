"""What the examples share: a NATS server and one worker process, both stopped at the end."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from naq_core.server import EmbeddedServer, tie_to_this_process

HERE = Path(__file__).parent


@contextmanager
def naq(*queues: str, **environment: str) -> Iterator[str]:
    """Provide a server and a worker on the given queues.

    The server is the one that `NAQ_NATS_URL` names; without the variable it is a new one in a temporary folder.

    Args:
        queues: The worker's queues; without any the default queue.
        environment: Environment variables for this process and the worker, such as `NAQ_JOB_SERIALIZER="json"`.

    Yields:
        The server's address, which is in `NAQ_NATS_URL` too.
    """
    os.environ.setdefault("NAQ_LOG_LEVEL", "WARNING")
    os.environ.update(environment)
    with ExitStack() as stack:
        url = os.environ.get("NAQ_NATS_URL")
        if url is None:
            url = stack.enter_context(EmbeddedServer()).url
            os.environ["NAQ_NATS_URL"] = url
            stack.callback(os.environ.pop, "NAQ_NATS_URL")
        stack.enter_context(worker(*queues))
        yield url


@contextmanager
def worker(*queues: str, concurrency: int = 10) -> Iterator[int]:
    """Run a worker process and yield its id."""
    with _process("naq_worker", *queues, "--concurrency", str(concurrency)) as pid:
        yield pid


@contextmanager
def scheduler(*arguments: str) -> Iterator[int]:
    """Run a scheduler process and yield its id."""
    with _process("naq_scheduler", *arguments) as pid:
        yield pid


@contextmanager
def _process(module: str, *arguments: str) -> Iterator[int]:
    # The folder of the examples is the current one, so that the process can import their modules. A session of
    # its own keeps the terminal's Ctrl-C away: the process is stopped below, once. If the example is killed, it ends too.
    command = [*tie_to_this_process(), sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, cwd=HERE, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Look ten times a second, for some ten seconds, whether something has come true."""
    for _ in range(100):
        if await condition():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("it did not come true")
