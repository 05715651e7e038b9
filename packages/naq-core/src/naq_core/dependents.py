"""After a job ends: release or cancel its dependents.

The process that records a job's end then reads its edges; the one that stores a waiting job then reads its parents. At least one
sees the other. Both do a compare-and-move, so doing it twice changes nothing. If a process dies on the way, a redelivery
or the server's own timer starts again (`docs/adr/0010-dependencies.md`).
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from naq_core.dependency import ParentOutcome
from naq_core.envelope import Envelope, Parent, decode_envelope
from naq_core.errors import DecodeError, PermissionDeniedError, WrongSequenceError
from naq_core.names import SIGNAL, is_signal
from naq_core.record import JobRecord, JobState
from naq_core.results import result_bytes
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Edge, Key, edges_of, forget, read_edges
from naq_core.storage.end_waiting import cancel_waiting
from naq_core.storage.messages import release as release_message
from naq_core.storage.messages import released
from naq_core.storage.parents import ParentState, ParentStatus, parent_statuses, status_of
from naq_core.storage.subjects import ASIDE, WAITS, state_of_subject
from naq_core.transport.batch import batches, publish_batch
from naq_core.transport.many import read_many
from naq_core.transport.message import Message

log = logging.getLogger(__name__)

MOST_WITNESSES = 10_000


class Verdict(NamedTuple):
    """What is to become of a waiting job."""

    run: bool = False
    reason: str = ""
    """Why it is cancelled, if it is."""
    witness: Key | None = None
    """A parent that has not ended, if it has to wait."""
    served: tuple[str, ...] = ()
    """Ids of which all parents have succeeded: their edges have served."""


@dataclass(slots=True)
class Dependents:
    """Acts for one connection; remembers whom each waiting job waits for, so that a wide fan-in costs little."""

    connection: Connection
    _witnesses: dict[Key, Key] = field(default_factory=dict)

    async def release(self, records: Iterable[JobRecord]) -> None:
        """Act upon jobs that have ended and whose records say so; all of it may be done twice.

        Raises:
            BrokerError: Not all could be done: do it again, before the jobs are acknowledged.
        """
        ended = list(records)
        spent: list[int] = []
        while ended:
            edges = await edges_of(self.connection, [record.job_id for record in ended])
            if not edges:
                break
            known: dict[Key, ParentStatus] = {}
            for record in ended:
                known[record.queue, record.job_id] = known["*", record.job_id] = status_of(record)
            ended = await self._act(edges, known, spent)
        # Last, and the deepest first: while an edge is there, the duty can be found again.
        await forget(self.connection, reversed(spent))

    async def release_for_signal(self, name: str) -> set[str]:
        """Act upon a signal that is stored, as upon a parent that has succeeded; it may be done twice.

        The edges stay until the jobs run, or the scheduler sweeps them: a producer, who sends signals, may not delete anything.

        Returns:
            The queues of the jobs that waited for it.

        Raises:
            BrokerError: Not all could be done: do it again. Until then a worker or a scheduler does it, when it looks at the job.
        """
        signal = f"{SIGNAL}{name}"
        edges = await edges_of(self.connection, [signal])
        await self.release(await self._act(edges, {("*", signal): ParentStatus(ParentState.DONE)}, []))
        return {edge.child[0] for edge in edges}

    async def look(self, children: Sequence[tuple[Key, Sequence[Parent]]]) -> None:
        """Look at the parents of jobs that were just stored, and act if they have ended already.

        Raises:
            BrokerError: It could not be done; the server's timer will have it done by a worker.
        """
        verdicts = await self.judge(children)
        acting = [
            (child, after, verdict) for (child, after), verdict in zip(children, verdicts, strict=True) if not verdict.witness
        ]
        # What has succeeded before counts, although its record may expire while the job waits for another parent.
        served = [(each, child) for (child, _), verdict in zip(children, verdicts, strict=True) for each in _served(verdict)]
        if served:
            await forget(self.connection, (await read_edges(self.connection, served)).values())
        if not acting:
            return
        live = await self._live([child for child, *_ in acting])
        waiting = {child: message for child, message in live.items() if _is_waiting(message)}
        cancelled: list[JobRecord] = []
        for child, after, verdict in acting:
            if child in waiting:
                cancelled += await self._carry_out(waiting[child], verdict)
                await self.forget_edges(child, after)
        await self.release(cancelled)

    async def judge(
        self,
        children: Sequence[tuple[Key, Sequence[Parent]]],
        known: dict[Key, ParentStatus] | None = None,
        *,
        recheck: bool = False,
    ) -> list[Verdict]:
        """Return what is to become of each waiting job."""
        known = dict(known or {})
        asked = [key for _, after in children for key in _keys(after) if key not in known]
        known |= await parent_statuses(self.connection, asked, recheck=recheck)
        gone = [(key[1], child) for child, after in children for key in _keys(after) if _may_have_served(key, known[key])]
        # A parent whose success was acted upon has no edge any more; its record, or the signal, may have expired since.
        edges = await read_edges(self.connection, gone) if gone else {}
        return [self._verdict(child, after, known, edges) for child, after in children]

    def _verdict(self, child: Key, after: Sequence[Parent], known: dict[Key, ParentStatus], edges: dict[str, int]) -> Verdict:
        witness: Key | None = None
        done: list[str] = []
        others: set[str] = set()
        for parent in after:
            key = (parent.queue, parent.id)
            status = known[key]
            has_edge = bool(edges) and self.connection.names.edge(parent.id, *child) in edges
            if is_signal(parent.id) and status.kind is ParentState.ALIVE and not has_edge:
                continue  # it came, and is not kept any more
            if status.kind is ParentState.DONE:
                done.append(parent.id)
            else:
                others.add(parent.id)
            if status.kind is ParentState.ALIVE:
                witness = key
            elif status.kind is ParentState.GONE:
                if not parent.lenient and has_edge:
                    return Verdict(reason=status.why)
            elif status.kind is ParentState.FAILED and not parent.lenient:
                return Verdict(reason=status.why)
        return Verdict(run=witness is None, witness=witness, served=tuple(each for each in done if each not in others))

    async def forget_edges(self, child: Key, after: Sequence[Parent]) -> None:
        """Delete what is left of a job's edges."""
        await forget(self.connection, (await read_edges(self.connection, [(parent.id, child) for parent in after])).values())

    async def _act(self, edges: list[Edge], known: dict[Key, ParentStatus], spent: list[int]) -> list[JobRecord]:
        """Act upon one round of ends, note the edges that have served, and return the ends that follow from them."""
        children: dict[Key, list[Edge]] = {}
        for edge in edges:
            if edge.parent in known:  # otherwise a job of the same id on another queue is meant
                children.setdefault(edge.child, []).append(edge)
        doomed = {
            child: known[edge.parent].why
            for child, its in children.items()
            for edge in its
            if known[edge.parent].kind is ParentState.FAILED and not edge.lenient
        }
        # An edge may be of several parents with one id: only a look at all parents tells whether it has served.
        sure = {c: e for c, e in children.items() if c not in doomed and all(each.parent[0] != "*" for each in e)}
        early = await self._with_living_witness(sure, known)
        for child in early:
            spent += [edge.sequence for edge in children.pop(child)]
        live = await self._live(list(children))
        waiting = {child: message for child, message in live.items() if _is_waiting(message)}
        for child, its in children.items():
            # Where its timer has just fired, the worker that gets it looks at its parents, and at these edges.
            if child not in live or WAITS not in live[child].headers:
                spent += [edge.sequence for edge in its]
        # Who cancelled them may have died before acting upon their own children.
        follow = await self._ended_before([child for child in doomed if child not in live])
        return follow + await self._act_on(children, waiting, doomed, known, spent)

    async def _act_on(
        self,
        children: dict[Key, list[Edge]],
        waiting: dict[Key, Message],
        doomed: dict[Key, str],
        known: dict[Key, ParentStatus],
        spent: list[int],
    ) -> list[JobRecord]:
        undecided: list[tuple[Key, Sequence[Parent]]] = []
        verdicts = {child: Verdict(reason=doomed[child]) for child in waiting if child in doomed}
        envelopes: dict[Key, Envelope] = {}
        for child, message in waiting.items():
            try:
                envelopes[child] = decode_envelope(message.data)
            except DecodeError as error:
                log.warning("waiting job %s is unreadable: %s", child[1], error)
                verdicts[child] = Verdict(run=True)  # its worker buries it, on record
                continue
            if child not in verdicts:
                undecided.append((child, envelopes[child].after))
        for (child, _), verdict in zip(undecided, await self.judge(undecided, known), strict=True):
            verdicts[child] = verdict
        free = [child for child, verdict in verdicts.items() if verdict.run]
        if len(free) > 1 and await self._release_together([waiting[child] for child in free]):
            for child in free:
                self._witnesses.pop(child, None)
        else:
            await asyncio.gather(*(self._carry_out(waiting[child], verdicts[child]) for child in free))
        bound = [child for child, verdict in verdicts.items() if not verdict.run]
        ended = await asyncio.gather(*(self._carry_out(waiting[child], verdicts[child]) for child in bound))
        left: list[tuple[str, Key]] = []
        for child, verdict in verdicts.items():
            its = children.get(child, ())
            alive = {parent.id for parent in envelopes[child].after} if verdict.witness is not None else set()
            alive -= set(verdict.served)
            spent += [edge.sequence for edge in its if edge.parent[0] != "*" or edge.parent[1] not in alive]
            after = envelopes[child].after if child in envelopes else ()
            if verdict.witness is None and len(after) > len(children.get(child, ())):
                left += [(parent.id, child) for parent in after]
        if left:
            spent += (await read_edges(self.connection, left)).values()
        return [record for records in ended for record in records]

    async def _with_living_witness(self, children: dict[Key, list[Edge]], known: dict[Key, ParentStatus]) -> list[Key]:
        """Return the children of which another parent is known to live: its end comes later, and will see these ends."""
        witnesses: dict[Key, Key] = {}
        for child, edges in children.items():
            witness = self._witnesses.get(child) or edges[0].witness
            if witness is not None and witness not in known:
                witnesses[child] = witness
        if not witnesses:
            return []
        found = await parent_statuses(self.connection, witnesses.values())
        return [child for child, witness in witnesses.items() if found[witness].kind is ParentState.ALIVE]

    async def _live(self, keys: Sequence[Key]) -> dict[Key, Message]:
        """Return the messages of those that are held, ready or running."""
        names = self.connection.names
        found = await read_many(self.connection, names.jobs_stream, [names.any_state(*key) for key in keys], f"{names.jobs}.>")
        wanted = set(keys)
        live: dict[Key, Message] = {}
        for message in found:
            state, queue, job_id = state_of_subject(message.subject)
            if (queue, job_id) in wanted and state not in ASIDE:
                live[queue, job_id] = message
        return live

    async def _ended_before(self, children: list[Key]) -> list[JobRecord]:
        if not children:
            return []
        found = await parent_statuses(self.connection, children)
        records = (each.record for each in found.values())
        return [record for record in records if record is not None and record.state is JobState.CANCELLED]

    async def _release_together(self, messages: Sequence[Message]) -> bool:
        """Make jobs ready in atomic batches; return False where somebody has moved one of them, so that each must be tried."""
        groups = [[released(self.connection, message)] for message in messages]
        try:
            for batch in batches(groups):
                await publish_batch(self.connection, batch)
        except (WrongSequenceError, PermissionDeniedError):
            return False
        return True

    async def _carry_out(self, message: Message, verdict: Verdict) -> list[JobRecord]:
        """Release, end or leave a waiting job; return the record of its end."""
        _, *key = state_of_subject(message.subject)
        child: Key = (key[0], key[1])
        if verdict.witness is not None:
            if len(self._witnesses) >= MOST_WITNESSES:
                self._witnesses.clear()
            self._witnesses[child] = verdict.witness
            return []
        self._witnesses.pop(child, None)
        try:
            if verdict.run:
                await release_message(self.connection, message)
                return []
            record = await cancel_waiting(self.connection, message, verdict.reason)
        except PermissionDeniedError as error:
            # Of a queue that this user may not touch: its own worker acts, when the server has the job looked at.
            log.warning("a worker of queue %s will release or cancel job %s, this user may not: %s", child[0], child[1], error)
            return []
        return [] if record is None else [record]


async def release(connection: Connection, *records: JobRecord) -> None:
    """Do the duty after jobs have ended: release the jobs that waited for them, or cancel those that waited in vain.

    Idempotent; to be called after each final record and before the job's message is given up.

    Raises:
        BrokerError: Call it again.
    """
    await Dependents(connection).release(records)


async def read_outcomes(connection: Connection, parents: Sequence[Parent]) -> tuple[ParentOutcome, ...]:
    """Return the outcomes of parents that have ended, in order.

    Raises:
        SignatureError: A result does not bear the signature that `signing_key` asks for.
        LargePayloadError: A large result is gone.
    """
    found = await parent_statuses(connection, _keys(parents))
    outcomes: list[ParentOutcome] = []
    for parent in parents:
        status = found[parent.queue, parent.id]
        record = status.record
        if is_signal(parent.id):
            state = JobState.SUCCEEDED if status.kind is ParentState.DONE else None
            outcomes.append(ParentOutcome(parent.id, state, _result=status.signal))
        elif record is None:
            outcomes.append(ParentOutcome(parent.id, None, status.why))
        else:
            result = await result_bytes(connection, record) if record.state is JobState.SUCCEEDED else b""
            serializer = connection.settings.job_serializer
            outcomes.append(ParentOutcome(parent.id, record.state, status.why, record.result_type, result, serializer))
    return tuple(outcomes)


def _served(verdict: Verdict) -> tuple[str, ...]:
    return verdict.served if verdict.witness is not None else ()  # a job that waits no more loses all its edges


def _may_have_served(key: Key, status: ParentStatus) -> bool:
    """Whether the edge has to tell if a parent has succeeded: what is known of it does not."""
    return status.kind is ParentState.GONE or (status.kind is ParentState.ALIVE and is_signal(key[1]))


def _is_waiting(message: Message) -> bool:
    return WAITS in message.headers and state_of_subject(message.subject)[0] == "held"


def _keys(after: Sequence[Parent]) -> list[Key]:
    return [(parent.queue, parent.id) for parent in after]


__all__ = ["Dependents", "Verdict", "read_outcomes", "release"]
