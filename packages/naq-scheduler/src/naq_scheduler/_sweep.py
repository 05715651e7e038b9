"""What crashes and lost messages may leave behind, put in order by the leader: bounded, and said in the log.

All of it is only ever a repetition of somebody's duty, or a compare-and-set against what was just read: two leaders sweeping at
once, or one that is stopped in the middle, do no harm.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from naq_core import transitions
from naq_core.dependents import Dependents
from naq_core.envelope import Parent, decode_envelope
from naq_core.errors import BrokerError, DecodeError
from naq_core.manage.cancel import store_end
from naq_core.manage.later import expire_job
from naq_core.record import AttemptError, JobState
from naq_core.storage.bells import is_token
from naq_core.storage.connection import Connection
from naq_core.storage.messages import target_of
from naq_core.storage.presence import is_worker_id, read_presence, remove_presence
from naq_core.storage.records import find_job, read_record, stored_of
from naq_core.storage.signals import drop_served, waiter_of
from naq_core.storage.subjects import FOR_KEY, is_place, state_of_subject
from naq_core.storage.unattended import KeyLevel, ring_unattended
from naq_core.transport.buckets import list_documents
from naq_core.transport.direct import Entry
from naq_core.transport.message import Message, header_block
from naq_core.transport.walk import Walk
from naq_scheduler._fire import Leadership
from naq_scheduler._metrics import SchedulerMetrics
from naq_scheduler._stranded import Stranded

log = logging.getLogger(__name__)

STEPS = 5
"""Of 1,000 sequences each, in one sweep: the next one goes on there."""
LONGEST = 20.0
"""Seconds that one sweep may take."""
EXPIRY_SLACK = 1.0
"""Workers find what has expired themselves, as long as there are any."""


class Sweeper:
    """The sweeps of one scheduler."""

    def __init__(self, connection: Connection, lease: Leadership, metrics: SchedulerMetrics, interval: float) -> None:
        self._connection = connection
        self._lease = lease
        self._metrics = metrics
        self._interval = interval
        self._dependents = Dependents(connection)
        names = connection.names
        self._stranded = Stranded(connection)
        self._jobs = Walk(connection, names.jobs_stream)
        self._records = Walk(connection, names.results_stream)
        self._presences: dict[str, tuple[int, float]] = {}
        """Of each worker: the revision of its presence, and since when it has been that, in loop time."""
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Sweep again and again while leading, until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            if self._lease.is_held:
                await self.sweep()

    async def sweep(self) -> dict[str, int]:
        """Do each sweep once, and return what was put in order."""
        done: dict[str, int] = {}
        for name, sweep in (
            ("jobs", self._sweep_jobs),
            ("claims", self._sweep_claims),
            ("presence", self._sweep_presence),
        ):
            await self._bounded(name, sweep, done)
        for kind, number in done.items():
            self._metrics.add("swept", number, f'sweep="{kind}"')
        if done:
            log.warning("swept: %s", ", ".join(f"{number} {kind}" for kind, number in done.items()))
        return done

    async def _bounded(self, name: str, sweep: Callable[[dict[str, int]], Awaitable[None]], done: dict[str, int]) -> None:
        began = self._loop.time()
        try:
            async with asyncio.timeout(LONGEST):
                await sweep(done)
        except (BrokerError, TimeoutError) as error:
            log.warning("the sweep of %s continues next time: %s", name, str(error) or f"stopped after {LONGEST:g} s")
        except Exception:
            # A sweep is an extra: it must not stop the schedules.
            log.exception("the sweep of %s failed", name)
        log.debug("swept %s in %.3f s", name, self._loop.time() - began)

    async def _sweep_jobs(self, done: dict[str, int]) -> None:
        """Expired jobs that no worker has looked at, and held ones whose parents have ended, or whose signal was sent, unseen."""
        for _ in range(STEPS):
            entries, is_last = await self._jobs.step()
            waiting: list[tuple[tuple[str, str], tuple[Parent, ...]]] = []
            await self._ring(entries)
            for entry in entries:
                await self._look_at(entry, waiting, done)
            await self._look_at_parents(waiting, done)
            await self._drop_served(entries)
            if stranded := await self._stranded.look(entries):
                _count(done, "jobs that were no longer delivered", stranded)
            if is_last:
                return

    async def _ring(self, entries: Sequence[Entry]) -> None:
        """See to the keys for which jobs wait: one that had a place may have been deleted past NAQ."""
        keys: set[KeyLevel] = set()
        for entry in entries:
            token = entry.headers.get(FOR_KEY, "")
            if token and is_token(token) and is_place(entry.subject, self._connection.names.jobs):
                ready = target_of(Message(entry.subject, entry.sequence, b"", header_block(entry.headers)))
                if ready is not None:
                    level, queue, _ = state_of_subject(ready)
                    keys.add((queue, token, level))
        if keys:
            await ring_unattended(self._connection, keys)

    async def _look_at(self, entry: Entry, waiting: list[Any], done: dict[str, int]) -> None:
        if not is_place(entry.subject, self._connection.names.jobs):
            return  # an edge, or of another program
        state, queue, job_id = state_of_subject(entry.subject)
        if state == "dead":
            return
        try:
            envelope = decode_envelope(entry.data)
        except DecodeError:
            return  # a worker buries it, on record
        if envelope.expires and envelope.expires + EXPIRY_SLACK < self._connection.clock.now():
            if await expire_job(self._connection, job_id, queue=queue):
                _count(done, "expired jobs")
        elif state == "held" and envelope.after:
            waiting.append(((queue, job_id), envelope.after))

    async def _look_at_parents(self, waiting: list[tuple[tuple[str, str], tuple[Parent, ...]]], done: dict[str, int]) -> None:
        if not waiting:
            return
        verdicts = await self._dependents.judge(waiting)
        ready = [each for each, verdict in zip(waiting, verdicts, strict=True) if not verdict.witness]
        if ready:
            await self._dependents.look(ready)
            _count(done, "jobs whose parents had ended", len(ready))

    async def _drop_served(self, entries: Sequence[Entry]) -> None:
        """Delete the edges of signals that nobody deletes else, such as of a job that was cancelled while it waited."""
        waiters = [waiter for entry in entries if (waiter := waiter_of(entry)) is not None]
        if waiters and (dropped := await drop_served(self._connection, waiters)):
            log.debug("dropped %d edges of signals", dropped)

    async def _sweep_claims(self, done: dict[str, int]) -> None:
        """Records of running jobs of which neither worker nor message is left: nothing else would ever end them."""
        patience = self._connection.settings.worker_ttl.total_seconds()
        if self._connection.seconds_connected < patience:
            return  # presences may have run out while the server was away
        for _ in range(STEPS):
            entries, is_last = await self._records.step()
            for entry in entries:
                if await self._is_orphan(entry, patience) and await self._bury(entry):
                    _count(done, "orphaned claims")
            if is_last:
                return

    async def _is_orphan(self, entry: Entry, patience: float) -> bool:
        stored = stored_of(entry)
        if stored is None:
            return False
        record = stored.record
        if record.state is not JobState.RUNNING or record.started_at > self._connection.clock.now() - 2 * patience:
            return False
        if await read_presence(self._connection, record.worker) is not None:
            return False
        return await find_job(self._connection, record.job_id, record.queue) is None

    async def _bury(self, entry: Entry) -> bool:
        _, queue, job_id = state_of_subject(entry.subject)
        stored = await read_record(self._connection, queue, job_id)
        if stored is None or stored.revision != entry.sequence:
            return False
        record = stored.record
        reason = f"worker {record.worker} is gone and the job was purged or deleted while it ran"
        now = self._connection.clock.now()
        lost, began = record.worker, record.started_at
        error = AttemptError("WorkerLost", reason, attempt=record.attempt, at=now, worker=lost, started=began)
        transitions.note_error(record, error)
        transitions.dead(record, now)
        record.reason = reason
        if not await store_end(self._connection, record, stored.revision):
            return False
        log.warning("job %s: %s", job_id, reason)
        await self._dependents.release([record])
        return True

    async def _sweep_presence(self, done: dict[str, int]) -> None:
        """Presences that are not renewed, and that the server should have removed long ago."""
        names, now = self._connection.names, self._loop.time()
        patience = 3 * self._connection.settings.worker_ttl.total_seconds()
        found = await list_documents(self._connection, names.workers_stream, names.worker("*"))
        seen: dict[str, tuple[int, float]] = {}
        for entry in found:
            worker_id = entry.subject.rpartition(".")[2]
            revision, since = self._presences.get(worker_id, (0, now))
            seen[worker_id] = (entry.sequence, since if revision == entry.sequence else now)
            if entry.data and is_worker_id(worker_id) and now - seen[worker_id][1] > patience:
                log.warning("worker %s has sent no heartbeat for %.0f s; removing its presence", worker_id, now - since)
                await remove_presence(self._connection, worker_id)
                _count(done, "stale presences")
        self._presences = seen


def _count(done: dict[str, int], kind: str, number: int = 1) -> None:
    done[kind] = done.get(kind, 0) + number
