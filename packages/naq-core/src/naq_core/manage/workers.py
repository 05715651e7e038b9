"""Asking a worker to stop taking jobs, to take them again, to run more or fewer at a time, or to end."""

import re

from naq_core.errors import WorkerNotFoundError
from naq_core.storage.connection import Connection
from naq_core.storage.control import ControlRequest, ask_worker
from naq_core.storage.presence import read_presence
from naq_core.values import exact_text, whole

_WORKER_ID = re.compile(r"[^\s.*>\x00-\x1f\x7f\ud800-\udfff]{1,128}")

PATIENCE = 5.0
PATIENCE_WITH_THE_ABSENT = 0.5
"""Seconds; one whose presence is gone may only just have lost and found its server."""


async def quiet_worker(connection: Connection, worker_id: str) -> None:
    """Let a worker take no more jobs and finish those it runs; it stays until it is stopped or resumed.

    Raises:
        WorkerNotFoundError: No worker answers to this id within 5 s.
        SignatureError: The worker has a signing key, and this process has none that fits.
    """
    await _ask(connection, worker_id, "quiet")


async def resume_worker(connection: Connection, worker_id: str) -> None:
    """Let a quiet worker take jobs again.

    Raises:
        WorkerNotFoundError: No worker answers to this id within 5 s, or the worker is stopping.
        SignatureError: As for `quiet_worker`.
    """
    await _ask(connection, worker_id, "resume")


async def resize_worker(connection: Connection, worker_id: str, concurrency: int) -> None:
    """Let a worker run another number of jobs at a time, until it is restarted. Running jobs finish, also if they are more.

    Raises:
        InvalidOptionError: `concurrency` is not between 1 and 100,000.
        WorkerNotFoundError: No worker answers to this id within 5 s, or its version cannot do this.
        SignatureError: As for `quiet_worker`.
    """
    await _ask(connection, worker_id, "resize", slots=whole(concurrency, "concurrency", 1, 100_000))


async def stop_worker(connection: Connection, worker_id: str, *, now: bool = False) -> None:
    """Stop a worker as its SIGTERM does: running jobs may finish within its grace, the rest is handed back.

    Args:
        now: Interrupt the running jobs and hand them back at once, as a second SIGTERM does.

    Raises:
        WorkerNotFoundError: No worker answers to this id within 5 s.
        SignatureError: The worker has a signing key, and this process has none that fits.
    """
    await _ask(connection, worker_id, "stop_now" if now else "stop")


async def worker_stacks(connection: Connection, worker_id: str) -> str:
    """Return what a worker is doing: the stacks of its jobs, threads and child processes, as in a traceback.

    Files, lines and source text, up to 64 KiB, and no values of variables. It also answers while a job blocks its event loop.

    Raises:
        WorkerNotFoundError: No worker answers to this id within 5 s, or its version cannot do this.
        SignatureError: As for `quiet_worker`.
    """
    worker_id = _checked(worker_id)
    presence = await read_presence(connection, worker_id)
    patience = PATIENCE_WITH_THE_ABSENT if presence is None else PATIENCE
    reply = await ask_worker(connection, worker_id, ControlRequest("stack"), patience=patience, is_beside=True)
    if reply is None or not reply.done:
        raise WorkerNotFoundError(worker_id, None if presence is None else str(presence.get("state", "running")))
    return reply.text


async def _ask(connection: Connection, worker_id: str, verb: str, *, slots: int = 0) -> None:
    worker_id = _checked(worker_id)
    is_present = await read_presence(connection, worker_id) is not None
    reply = await ask_worker(
        connection,
        worker_id,
        ControlRequest(verb, slots=slots),
        patience=PATIENCE if is_present else PATIENCE_WITH_THE_ABSENT,
    )
    if reply is None or not reply.done:
        raise WorkerNotFoundError(worker_id, None if reply is None else reply.state)


def _checked(worker_id: str) -> str:
    """Refuse what would change the subject of the request, or cannot be part of one."""
    found = exact_text(worker_id)
    if found is None or not _WORKER_ID.fullmatch(found):
        raise WorkerNotFoundError(repr(worker_id)[:200] if found is None else found[:200], None)
    return found
