"""Jobs that wait in a table of your database: stored in the transaction of your rows, and enqueued after it.

The id of a job is chosen before it is stored. If a relay dies after it has enqueued a job, and before it has deleted the row, the
next one enqueues the same job again, and there is still one. `docs/outbox.md` shows tables and relays.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from naq_client._blocking_loop import blocking_loop
from naq_client.queue import Queue
from naq_client.sync import SyncQueue
from naq_core.decoding import Decoder, Instant
from naq_core.dependency import NO_WIRING
from naq_core.enqueue.submit import submit
from naq_core.errors import BrokerError, EnqueueSkippedError, InvalidOptionError, NaqError
from naq_core.job import Job
from naq_core.settings import Settings
from naq_core.signing import Signer

__all__ = ["pack", "send", "send_sync", "unpack"]

log = logging.getLogger(__name__)


class Packed(msgspec.Struct, omit_defaults=True):
    """A job as it is in the table."""

    queue: str
    body: bytes
    """Its wire form, signed where there is a key."""
    due: Instant = 0.0


_decoder = Decoder("the job of the outbox", Packed)


def pack(job: Job[Any], settings: Settings | None = None) -> str:
    """Return a job, made by `call()` of a queue or a task, as text for a column of a table. Its id is `job.job_id`.

    `delay` and `expires` count from now on.

    Args:
        settings: With whose `signing_key` it is signed; by default those of the environment.

    Raises:
        EncodeError: Function or arguments cannot be serialized.
        InvalidOptionError: It has an option with which a job may be enqueued twice, or that needs the server.
    """
    for name, is_given in (
        ("unique", bool(job.delivery.unique)),
        ("depends_on", job.wiring is not NO_WIRING),
        ("fast", job.options.fast),
    ):
        if is_given:
            raise InvalidOptionError(name, "cannot be used for a job that waits in an outbox")
    settings = settings or Settings.load()
    body = job.serialize()
    signer = Signer(settings.signing_key, settings.namespace)
    return msgspec.json.encode(Packed(job.queue, signer.seal(body, job.queue, job.job_id), job.due)).decode()


def unpack(packed: str, settings: Settings | None = None) -> Job[Any]:
    """Return the job of a row, to be looked at. The function is imported when it is asked for.

    Raises:
        UnreadableError, DecodeError: It is no job. SignatureError: It is not signed with the key of the settings.
    """
    found = _decoder.decode(packed.encode())
    job = Job.deserialize(found.body, queue=found.queue, settings=settings)
    job.due = found.due
    return job


async def send(queue: Queue, packed: Iterable[str], budget: float | None = None) -> list[NaqError | None]:
    """Enqueue the jobs of some rows, side by side. Middleware runs here.

    Args:
        queue: Whose connection and settings are used; the jobs go to their own queues.
        packed: What `pack` returned.
        budget: Seconds to wait for a server that is away; by default the setting `publish_budget`.

    Returns:
        For each row None, if its job is stored now or was before, so that the row can be deleted; or what prevented it. After a
        `BrokerError` try again later; any other error will come again.
    """
    return list(await asyncio.gather(*(_send(queue, each, budget) for each in packed)))


def send_sync(queue: SyncQueue, packed: Iterable[str], budget: float | None = None) -> list[NaqError | None]:
    """As `send`, blocking."""
    return blocking_loop().run(send(queue.asynchronous, packed, budget))


async def _send(queue: Queue, packed: str, budget: float | None) -> NaqError | None:
    try:
        job = unpack(packed, queue.settings)
        job.budget = budget
        await submit(queue, job)
    except EnqueueSkippedError as error:
        log.info("middleware has skipped a job of the outbox: %s", error)
    except BrokerError as error:
        return error
    except NaqError as error:
        log.error("a job of the outbox cannot be enqueued: %s", error)  # noqa: TRY400 - the message says it
        return error
    return None
