"""Jobs that wait for jobs: if they take all slots of the workers that could run the others, none of them ever ends."""

import logging
import time

from naq_core.context import running_job
from naq_core.errors import BrokerError
from naq_core.inspect.workers import list_workers
from naq_core.storage.connection import Connection
from naq_core.storage.subjects import state_of_subject
from naq_core.storage.waiting import OnWait
from naq_core.transport.message import Message

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds of waiting before it is looked at: most jobs start sooner."""


def deadlock_watch(connection: Connection) -> OnWait | None:
    """Return what is to be called while a job waits for the end of another one; None outside of a job.

    It logs a warning, once, when the awaited job is ready to run and no worker of its queue has a free place.
    """
    waiter = running_job()
    if waiter is None:
        return None
    since = time.monotonic()
    is_told = False

    async def look(message: Message) -> None:
        nonlocal is_told
        state, queue, job_id = state_of_subject(message.subject)
        if is_told or state == "held" or time.monotonic() - since < PATIENCE:
            return
        try:
            workers = [each for each in await list_workers(connection) if queue in each.get("queues", ())]
        except BrokerError as error:
            log.debug("cannot check whether job %s is deadlocked: %s", waiter.job_id, error)
            return
        places = sum(each.get("concurrency", 0) for each in workers)
        running = sum(len(each.get("running", ())) for each in workers)
        if running < places or not workers:
            return
        is_told = True
        log.warning(
            "possible deadlock: job %s (%s) waits for job %s of queue %s, which no worker can start: all %d slots are taken "
            "(%s), this job's among them. If the others wait as well, none of them will ever end. Raise the concurrency, serve "
            "that queue with a separate worker, or let the job depend on the other one instead of waiting for it.",
            waiter.job_id,
            waiter.function,
            job_id,
            queue,
            places,
            ", ".join(str(each.get("worker_id")) for each in workers),
        )

    return look
