"""`naq queue`: list, show, pause, limit, purge and delete queues."""

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from naq_cli._errors import CommandError
from naq_cli._format import iso
from naq_cli._jobs import COLUMNS as JOB_COLUMNS
from naq_cli._options import Destroying, Reading
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core.errors import QueueInUseError, QueueNotFoundError
from naq_core.filters import parse_instant
from naq_core.inspect import get_queue, list_jobs, list_queues
from naq_core.manage import (
    delete_queue,
    get_queue_policy,
    pause_queue,
    purge_queue,
    resume_queue,
    set_queue_limit,
    set_queue_policy,
)
from naq_core.queue_policy import policy_text, rate_text
from naq_core.record import JobState
from naq_core.views import JobFilter, QueueView, WaitingKey
from naq_core.wording import counted, were

app = App(name="queue", help="List, show, pause, limit, purge and delete queues.")


def state_of(queue: QueueView) -> str:
    """Return whether the queue is paused."""
    if not queue.paused:
        return "open"
    return f"paused until {iso(queue.paused_until)}" if queue.paused_until else "paused"


def waiting_text(key: WaitingKey) -> str:
    """Return how many jobs wait for a key, and for which jobs."""
    jobs = ", ".join(key.ahead) or "a worker or a rate"
    return f"{counted(key.waiting, 'job')} {'wait' if key.waiting != 1 else 'waits'} for {jobs}"


COLUMNS = (
    Column("Queue", lambda queue: queue.queue),
    Column("State", lambda queue: "paused" if queue.paused else "open"),
    Column("Queued", lambda queue: queue.queued, right=True),
    Column("Running", lambda queue: queue.running, right=True),
    Column("Held", lambda queue: queue.held, right=True),
    Column("Wait for key", lambda queue: queue.waiting_for_key, rank=3, right=True),
    Column("Dead", lambda queue: queue.dead, right=True),
    Column("Oldest", lambda queue: queue.oldest_at, right=True),
    Column("Workers", lambda queue: queue.workers, right=True),
    Column("Limit", lambda queue: queue.limit, rank=3, right=True),
    Column("Redelivered", lambda queue: queue.redelivered, rank=4, right=True),
)


@app.command(name="list")
@connected("queue list", Reading)
async def list_(session: Session) -> None:
    """List every queue, with its jobs by state."""
    queues = await list_queues(session.connection)
    session.output.list(queues, COLUMNS, key=lambda queue: queue.queue, empty="There are no queues yet: naq setup QUEUE")


@app.command
@connected("queue show", Reading)
async def show(session: Session, queue: str, /) -> None:
    """Show one queue: its jobs by state, its workers, pause and limit.

    Args:
        queue: The queue.
    """
    view = await get_queue(session.connection, queue)
    facts = [
        ("Queue", view.queue),
        ("State", state_of(view)),
        ("Queued", view.queued),
        ("By priority", view.by_priority),
        ("Running", view.running),
        ("Held", view.held),
        ("Wait for their key", view.waiting_for_key),
        ("Wait for the rate", view.waiting_for_rate),
        *((f"Key {each.key}", waiting_text(each)) for each in view.keys),
        ("Dead", view.dead),
        ("Oldest queued", view.oldest_at),
        ("Workers", view.workers),
        ("Limit", view.limit),
        ("Rate", rate_text(view.rate, view.burst)),
        ("Limit per key", view.key_limit),
        ("Rate per key", rate_text(view.key_rate, view.key_burst)),
        ("Weights", ", ".join(f"{key} {weight}" for key, weight in view.weights.items())),
        ("Redelivered", view.redelivered),
        ("Stream", session.connection.names.jobs_stream),
        ("Consumers", [consumer for consumer, _ in session.connection.names.consumers(queue)]),
    ]
    session.output.facts(facts, document=view)


@app.command
@connected("queue peek", Reading)
async def peek(session: Session, queue: str, /, *, limit: Annotated[int, Parameter(alias="-n")] = 10) -> None:
    """Show the jobs that are waiting for a worker; the next one to run is the last line.

    Args:
        queue: The queue.
        limit: The number of jobs.
    """
    await get_queue(session.connection, queue)
    page = await list_jobs(session.connection, JobFilter(states=frozenset({JobState.QUEUED}), queue=queue), limit=limit)
    session.output.list(
        page.jobs, JOB_COLUMNS, key=lambda job: job.job_id, empty=f"No job of {queue} is waiting for a worker.", document=page
    )


async def _say_if_new(session: Session, queue: str) -> None:
    """Remark that a queue is not known: a name can be set up before its first job, and it can be mistyped in an emergency."""
    try:
        await get_queue(session.connection, queue)
    except QueueNotFoundError:
        session.output.remark(f"Queue {queue} did not exist and was created. See: naq queue list")


@app.command
@connected("queue pause")
async def pause(session: Session, queue: str, /, *, until: str | None = None) -> None:
    """Stop delivering a queue's jobs to workers; running jobs continue.

    Args:
        queue: The queue.
        until: When to resume it automatically: a duration from now (30m), a time of day in UTC (18:00), or a time
            (2026-11-24T12:30:00Z).
    """
    end = None if until is None else parse_instant(until, now=session.connection.clock.utc(), setting="until", ahead=True)
    await _say_if_new(session, queue)
    async with session.acting("pause-queue", queue, until=None if end is None else iso(end)):
        await pause_queue(session.connection, queue, end)
    how = f"naq queue resume {queue} resumes it" if end is None else f"until {iso(end)}"
    session.output.done(f"{queue} is paused: {how}.", names=[queue])


@app.command
@connected("queue resume")
async def resume(session: Session, queue: str, /) -> None:
    """Resume a paused queue.

    Args:
        queue: The queue.
    """
    async with session.acting("resume-queue", queue):
        await resume_queue(session.connection, queue)
    session.output.done(f"{queue} is not paused.", names=[queue])


@app.command
@connected("queue limit")
async def limit(session: Session, queue: str, most: str, /) -> None:
    """Limit how many jobs of a queue run at once, across all workers.

    Args:
        queue: The queue.
        most: A positive number, or none to remove the limit.
    """
    if most != "none" and (not most.isdecimal() or int(most) == 0):
        raise CommandError(f"{most!r} is not a positive number or none", ExitCode.USAGE)
    number = None if most == "none" else int(most)
    await _say_if_new(session, queue)
    async with session.acting("limit-queue", queue, limit=most):
        await set_queue_limit(session.connection, queue, number)
    text = "no longer has a limit" if number is None else f"runs at most {counted(number, 'job')} at once across all workers"
    session.output.done(f"{queue} {text}.", names=[queue])


@app.command
@connected("queue policy")
async def policy(
    session: Session,
    queue: str,
    /,
    *,
    key_limit: int | None = None,
    rate: str | None = None,
    burst: int | None = None,
    key_rate: str | None = None,
    key_burst: int | None = None,
    weight: Annotated[list[str] | None, Parameter(negative=())] = None,
) -> None:
    """Set how many jobs of a queue start in a time, and how many of each key run at once; it holds at once, for all workers.

    Without an option the command only says what holds.

    Args:
        queue: The queue.
        key_limit: How many jobs of one key run at once: from 1, the default of every queue, to 1000. With 1 they run in the
            order in which they were enqueued.
        rate: How many jobs of the queue start in a time, such as 10/s, 100/min or 5000/h, or none.
        burst: How many may start at once after a time in which none did. It is forgotten when the rate is set without it.
        key_rate: How many jobs of one key start in a time, or none.
        key_burst: As burst, for the key rate.
        weight: KEY=NUMBER, such as vip=3: this key gets so many times the others' share. May be given several times; 1 removes
            it.
    """
    known = await get_queue_policy(session.connection, queue)
    changes: dict[str, Any] = {} if key_limit is None else {"key_limit": key_limit}
    for name, text, size in (("rate", rate, burst), ("key_rate", key_rate, key_burst)):
        if text is not None:
            changes |= {name: None if text == "none" else text, name.replace("rate", "burst"): size}
        elif size is not None:
            changes[name.replace("rate", "burst")] = size
    if weight:
        weights = {**known.weights, **dict(map(_weight, weight))}
        changes["weights"] = {key: number for key, number in weights.items() if number != 1}
    if changes:
        known = msgspec.structs.replace(known, **changes)
        await _say_if_new(session, queue)
        async with session.acting("policy-queue", queue, **{name: str(value) for name, value in changes.items()}):
            await set_queue_policy(session.connection, queue, known)
    session.output.done(f"{queue} {policy_text(known)}.", names=[queue])


def _weight(text: str) -> tuple[str, int]:
    key, separator, number = text.rpartition("=")
    if not separator or not number.isdecimal():
        raise CommandError(f"{text!r} is not KEY=NUMBER, such as vip=3", ExitCode.USAGE)
    return key, int(number)


@app.command
@connected("queue purge", Destroying)
async def purge(session: Session, queue: str, /) -> None:
    """Delete every queued or held job of a queue.

    Running and dead jobs stay; naq job delete state:dead queue:NAME deletes dead ones.

    Args:
        queue: The queue.
    """
    view = await get_queue(session.connection, queue)
    session.output.confirm(
        f"{view.queued:,} queued and {view.held:,} held jobs of {queue} would be deleted.",
        yes=not (view.queued or view.held),
    )
    async with session.acting("purge-queue", queue) as entry:
        deleted = await purge_queue(session.connection, queue)
        entry.reason = f"{counted(deleted, 'job')} deleted"
    session.output.done(f"{counted(deleted, 'job')} of {queue} {were(deleted)} deleted.", names=[str(deleted)])


@app.command
@connected("queue delete")
async def delete(session: Session, queue: str, /) -> None:
    """Delete an empty queue that no worker serves, with its pause and limit, such as one made by a typing error.

    Records of jobs that have ended stay. The queue comes back when a job is enqueued to it.

    Args:
        queue: The queue.
    """
    await get_queue(session.connection, queue)  # nothing of an empty queue can be lost: nobody is asked
    try:
        async with session.acting("delete-queue", queue):
            await delete_queue(session.connection, queue)
    except QueueInUseError as error:
        advice = f"naq queue purge {queue} deletes queued and held jobs, naq job delete queue:{queue} those that have ended"
        raise CommandError(f"{error}. {advice if error.jobs else f'See: naq queue show {queue}'}", ExitCode.REFUSED) from error
    session.output.done(f"{queue} was deleted.", names=[queue])
