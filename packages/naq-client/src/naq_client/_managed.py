"""What is done to a queue and its jobs after they were enqueued."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

from naq_core.events import Event, events
from naq_core.manage import (
    CancelOutcome,
    cancel_job,
    delete_job,
    get_queue_policy,
    is_queue_paused,
    pause_queue,
    purge_queue,
    resume_queue,
    retry_job,
    send_signal,
    set_queue_limit,
    set_queue_policy,
)
from naq_core.queue_policy import QueuePolicy
from naq_core.storage.connection import Connection


class ManagedQueue(ABC):
    """A queue by its name, and the connection to where it is."""

    name: str

    @abstractmethod
    async def connection(self) -> Connection:
        """Return the open connection."""

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what happens to this queue's jobs from the first step of the iteration on; see `naq_core.events.events`."""
        async with aclosing(events(await self.connection(), self.name)) as feed:
            async for event in feed:
                yield event

    async def purge(self) -> int:
        """Delete every job of this queue that waits, and return how many; running and dead jobs stay."""
        return await purge_queue(await self.connection(), self.name)

    async def cancel(self, job_id: str, reason: str = "") -> CancelOutcome:
        """End a job of this queue as cancelled, whether it waits, is held or runs; see `Job.cancel`.

        Raises:
            JobNotFoundError: Neither job nor record exists in this queue (any more); names another queue that has one of this id.
        """
        return await cancel_job(await self.connection(), job_id, reason, queue=self.name)

    async def retry(self, job_id: str) -> None:
        """Put a dead job of this queue back to work, from its first attempt, or run one now that waits for its retry.

        Raises:
            JobNotFoundError: Neither job nor record exists in this queue (any more); names another queue that has one of this id.
            JobStateError: It waits for a worker already, runs, or has ended and is not kept.
        """
        await retry_job(await self.connection(), job_id, queue=self.name)

    async def delete(self, job_id: str) -> None:
        """Delete a job of this queue that waits or has ended, and its record.

        Raises:
            JobNotFoundError: Neither job nor record exists in this queue (any more); names another queue that has one of this id.
            JobStateError: It is running: cancel it first.
        """
        await delete_job(await self.connection(), job_id, queue=self.name)

    async def signal(self, name: str, data: Any = None, *, sender: str = "", ttl: float | timedelta = timedelta(days=7)) -> bool:
        """Send a signal to the jobs of any queue that wait for it (`wait_for=name`), those to come included.

        Args:
            name: Of the signal: 1 to 128 letters, digits, `_`, `-`, `=`, `:`, `@`, `.` or `+`.
            data: Values of JSON; a job reads them as `current_job().signal.data`.
            sender: Who sends it, for people; at most 200 characters.
            ttl: How long it is kept for jobs that come later, in seconds; by default 7 days.

        Returns:
            Whether it is new: the first signal of a name counts, as long as it is kept.

        Raises:
            InvalidNameError, InvalidOptionError, EncodeError, PayloadTooLargeError: It cannot be sent; nothing was.
            BrokerError: It is unknown whether it was sent; send it again.
        """
        return await send_signal(await self.connection(), name, data, sender=sender, ttl=ttl)

    async def pause(self, until: datetime | None = None) -> None:
        """Stop the delivery of this queue's jobs to all workers; running ones go on.

        A fact of the server, so it holds for workers that start later and over restarts.

        Args:
            until: An aware time at which the server resumes by itself; by default `resume()` has to.

        Raises:
            InvalidOptionError: `until` is naive or has passed.
        """
        await pause_queue(await self.connection(), self.name, until)

    async def resume(self) -> None:
        """Resume a paused queue."""
        await resume_queue(await self.connection(), self.name)

    async def set_limit(self, limit: int | None) -> None:
        """Limit how many of this queue's jobs run at once over all workers.

        Args:
            limit: From 1 to 10,000; None, the default, lifts it.

        Raises:
            InvalidOptionError: Out of range.
        """
        await set_queue_limit(await self.connection(), self.name, limit)

    async def set_policy(self, policy: QueuePolicy) -> None:
        """Say how many of this queue's jobs run at once, in all and of each key, over all workers; it holds at once, everywhere.

        Args:
            policy: Such as `QueuePolicy(key_limit=3)`. It takes the place of the one before, with its `limit`.
        """
        await set_queue_policy(await self.connection(), self.name, policy)

    async def policy(self) -> QueuePolicy:
        """Return how many of this queue's jobs may run at once, in all and of each key."""
        return await get_queue_policy(await self.connection(), self.name)

    async def is_paused(self) -> bool:
        """Return whether the server holds this queue's jobs back right now."""
        return await is_queue_paused(await self.connection(), self.name)
