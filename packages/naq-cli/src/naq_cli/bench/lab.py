"""Where `naq bench` measures: a namespace that is deleted afterwards, and workers of its own."""

import asyncio
import contextlib
import dataclasses
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from naq_cli._errors import CommandError
from naq_cli._plugins import find_plugins
from naq_cli.bench.stamps import VARIABLE
from naq_cli.exit_codes import ExitCode
from naq_core.connection import Connection
from naq_core.errors import NaqError
from naq_core.server import tie_to_this_process
from naq_core.settings import Settings
from naq_core.storage.topology import delete_namespace
from naq_core.tasks import beside

T = TypeVar("T")

QUEUE = "bench"
FUNCTIONS = "naq_cli.bench.jobs:*"
_LONGEST_NAME = 40
STALLED_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_STOP_SECONDS = 15.0


@contextlib.asynccontextmanager
async def temporary_namespace(settings: Settings) -> AsyncIterator[Connection]:
    """Connect to a new namespace, named after that of the settings, and delete its streams at the end.

    Raises:
        CommandError: They could not be deleted; names the namespace.
    """
    name = f"{settings.namespace[:_LONGEST_NAME]}-bench{secrets.token_hex(4)}"
    own = dataclasses.replace(settings, namespace=name, allowed_functions=(*settings.allowed_functions, FUNCTIONS))
    async with Connection(own, name="naq-bench") as connection:
        try:
            yield connection
        finally:
            try:
                await delete_namespace(connection)
            except NaqError as error:
                left = (
                    f"the benchmark's namespace {name} could not be deleted: {error}. Delete the streams with this name in theirs"
                )
                raise CommandError(left) from error


class Workers:
    """Worker processes on this machine."""

    def __init__(self, settings: Settings, *, concurrency: int, count: int, stamps: Path | None = None) -> None:
        """Prepare; nothing runs yet.

        Args:
            settings: Theirs.
            concurrency: Jobs that each of them runs at a time.
            count: How many there are.
            stamps: The file that their jobs write.
        """
        self._arguments = ["-m", "naq_worker", QUEUE, "--concurrency", str(concurrency), "--workers", "1"]
        self._environment = {**os.environ, **settings.as_environment(), "NAQ_LOG_LEVEL": "WARNING", VARIABLE: str(stamps or "")}
        self._count = count
        self._processes: list[asyncio.subprocess.Process] = []
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the workers

    async def __aenter__(self) -> Self:
        """Start them."""
        try:
            for _ in range(self._count):
                self._processes.append(
                    await asyncio.create_subprocess_exec(
                        *tie_to_this_process(),
                        sys.executable,
                        *self._arguments,
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=self._output,
                        stderr=self._output,
                        env=self._environment,
                        start_new_session=True,
                    )
                )
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop them."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    for process in self._processes:
                        await process.wait()
        finally:
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            self._output.close()

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work returns, which the workers are needed for.

        Raises:
            CommandError: A worker has ended; says why.
        """
        async with beside(work) as done, beside(self._end_of_one()) as ended:
            await asyncio.wait((done, ended), return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                raise CommandError(f"a worker ended with exit code {ended.result()}: {self._last_line()}", ExitCode.FAILED)
            return done.result()

    async def _end_of_one(self) -> int:
        while True:
            for process in self._processes:
                if process.returncode is not None:
                    return process.returncode
            await asyncio.sleep(_LOOK_SECONDS)

    def _last_line(self) -> str:
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()
        return lines[-1] if lines else "it has printed nothing"


def need_worker() -> None:
    """Check that workers can be started.

    Raises:
        CommandError: The package is missing; says what to install.
    """
    if "worker" not in find_plugins():
        raise CommandError(
            "naq-worker is not installed, and the benchmark starts workers. Install it: pip install naq-worker",
            ExitCode.NOT_INSTALLED,
        )


async def until_all(count: Callable[[], int], expected: int) -> None:
    """Wait until so many jobs have run, in other processes.

    Raises:
        CommandError: None has ended for a minute.
    """
    loop = asyncio.get_running_loop()
    known, since = -1, loop.time()
    while (done := count()) < expected:  # what others write into a file is no event of this process
        if done != known:
            known, since = done, loop.time()
        elif loop.time() - since > STALLED_SECONDS:
            raise CommandError(
                f"no job has ended for {STALLED_SECONDS:g} s; {expected - done:,} of {expected:,} are left. "
                "Do the workers' settings allow them, and does a worker's log say why?",
                ExitCode.FAILED,
            )
        await asyncio.sleep(_LOOK_SECONDS)
