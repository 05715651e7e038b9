"""Keeps a child process running: again when it ends by itself, and again when a file has changed."""

import asyncio
import contextlib

from naq_cli.dev.children import DevProcess, Log
from naq_cli.exit_codes import ExitCode
from naq_core.tasks import beside

_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class ProcessKeeper:
    """One process that is to run as long as `run` does."""

    def __init__(self, child: DevProcess, log: Log, *, patience: float, waits_for_changes: bool) -> None:
        """Prepare; nothing runs yet.

        Args:
            child: The process.
            log: Where to say that it was started again.
            patience: Seconds it may take to stop.
            waits_for_changes: After a failed import, start it again only when a file has changed.
        """
        self.child = child
        self.patience = patience
        self._log = log
        self._waits_for_changes = waits_for_changes
        self._changed = asyncio.Event()
        self._pause = _PAUSE_SECONDS

    def reload(self) -> None:
        """Start the process again, as a file has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Run it until cancelled; the canceller ends the process itself."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            began = loop.time()
            await self.child.start()
            async with beside(self.child.wait()) as ended, beside(self._changed.wait()) as changed:
                await asyncio.wait((ended, changed), return_when=asyncio.FIRST_COMPLETED)
                if ended.done() and not self._changed.is_set():
                    if loop.time() - began > _LONGEST_PAUSE_SECONDS:
                        self._pause = _PAUSE_SECONDS
                    await self._after_its_end(ended.result())
                else:
                    await self.child.stop(self.patience)

    async def _after_its_end(self, code: int) -> None:
        name = self.child.name
        if code == ExitCode.IMPORT_FAILED and self._waits_for_changes:
            self._log.line("naq", f"The {name} will start again when a file changes.")
            await self._changed.wait()
            return
        self._log.line("naq", f"{name} ended with code {code}; restarting it in {self._pause:g} s.")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
