"""What others ask of a worker while it runs: cancel a job, take no more jobs, take jobs again, stop."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from naq_core.errors import BrokerError, InvalidOptionError
from naq_core.storage.connection import Connection
from naq_core.storage.control import ControlReply, ControlRequest, answer_requests
from naq_core.storage.records import read_record
from naq_worker._active import Active

log = logging.getLogger(__name__)


class Controllable(Protocol):
    """What the requests act on."""

    worker_id: str

    @property
    def state(self) -> str: ...
    def stop(self) -> None: ...
    def stop_now(self) -> None: ...
    def quiet(self) -> None: ...
    def resume(self) -> None: ...
    def resize(self, concurrency: int) -> None: ...


class Commands:
    """Takes requests for one worker.

    Args:
        find: Returns the job of a queue and id that the worker has in hand, or None.
        held: Returns all jobs in hand.
    """

    def __init__(
        self,
        connection: Connection,
        worker: Controllable,
        find: Callable[[str, str], Active | None],
        held: Callable[[], Iterable[Active]],
    ) -> None:
        self._connection = connection
        self._worker = worker
        self._find = find
        self._held = held
        self._may_have_missed = asyncio.Event()

    async def start(self) -> None:
        """Answer requests from now on, until the connection is closed."""
        await answer_requests(self._connection, self._worker.worker_id, self._handle)

    async def run(self) -> None:
        """Look after each reconnect which jobs were cancelled, until cancelled: a request may have been lost."""
        self._connection.on_reconnect(self._may_have_missed.set)
        try:
            while True:
                await self._may_have_missed.wait()
                self._may_have_missed.clear()
                await self._cancel_what_ended()
        finally:
            self._connection.forget_listener(self._may_have_missed.set)

    def _handle(self, request: ControlRequest) -> ControlReply:
        done = True
        worker = self._worker
        match request.verb:
            case "cancel":
                active = self._find(request.queue, request.job_id)
                done = active is not None
                if active is not None:
                    log.debug("cancelling job %s", request.job_id)
                    active.cancel()
            case "quiet":
                worker.quiet()
            case "resume":
                done = worker.state != "stopping"
                worker.resume()
            case "resize":
                done = self._resize(request.slots)
            case "stop":
                worker.stop()
            case "stop_now":
                worker.stop_now()
            case verb:
                log.warning("rejected a request with the unknown verb %r", verb)
                done = False
        return ControlReply(done, worker.state)

    def _resize(self, slots: int) -> bool:
        try:
            self._worker.resize(slots)
        except InvalidOptionError as error:
            log.warning("rejected a request to change the concurrency: %s", error)
            return False
        return True

    async def _cancel_what_ended(self) -> None:
        for active in tuple(self._held()):
            if not active.is_running:
                continue
            try:
                stored = await read_record(self._connection, *active.key)
            except BrokerError as error:
                log.info("cannot check whether running jobs were cancelled: %s", error)
                return
            if stored is not None and stored.record.state.is_final and stored.record.worker == self._worker.worker_id:
                log.debug("job %s was cancelled while the connection was lost", active.delivery.job_id)
                active.cancel()
