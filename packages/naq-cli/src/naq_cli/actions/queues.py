"""Showing and changing queues."""

from naq_cli._errors import CommandError
from naq_cli._format import iso
from naq_cli._output import Column
from naq_cli._session import Session
from naq_cli.commands.job.listing import COLUMNS as JOB_COLUMNS
from naq_cli.exit_codes import ExitCode
from naq_core.errors import QueueInUseError, QueueNotFoundError
from naq_core.filters import parse_instant
from naq_core.inspect import get_queue, list_jobs, list_queues
from naq_core.manage import delete_queue, pause_queue, purge_queue, resume_queue, set_queue_limit
from naq_core.record import JobState
from naq_core.views import JobFilter, QueueView
from naq_core.wording import counted, were


def state_of(queue: QueueView) -> str:
    """Return whether the queue is paused."""
    if not queue.paused:
        return "open"
    return f"paused until {iso(queue.paused_until)}" if queue.paused_until else "paused"


COLUMNS = (
    Column("Queue", lambda queue: queue.queue),
    Column("State", lambda queue: "paused" if queue.paused else "open"),
    Column("Waiting", lambda queue: queue.waiting, right=True),
    Column("Running", lambda queue: queue.running, right=True),
    Column("Held", lambda queue: queue.held, right=True),
    Column("Dead", lambda queue: queue.dead, right=True),
    Column("Oldest", lambda queue: queue.oldest_at, right=True),
    Column("Workers", lambda queue: queue.workers, right=True),
    Column("Limit", lambda queue: queue.limit, rank=3, right=True),
    Column("Redelivered", lambda queue: queue.redelivered, rank=4, right=True),
)


async def list_all(session: Session) -> None:
    """List all queues."""
    queues = await list_queues(session.connection)
    session.output.list(queues, COLUMNS, key=lambda queue: queue.queue, empty="There are no queues yet: naq setup QUEUE")


async def show_one(session: Session, name: str) -> None:
    """Show a queue."""
    queue = await get_queue(session.connection, name)
    facts = [
        ("Queue", queue.queue),
        ("State", state_of(queue)),
        ("Waiting", queue.waiting),
        ("By priority", queue.by_priority),
        ("Running", queue.running),
        ("Held", queue.held),
        ("Dead", queue.dead),
        ("Oldest waiting", queue.oldest_at),
        ("Workers", queue.workers),
        ("Limit", queue.limit),
        ("Redelivered", queue.redelivered),
        ("Stream", session.connection.names.jobs_stream),
        ("Consumers", [consumer for consumer, _ in session.connection.names.consumers(name)]),
    ]
    session.output.facts(facts, document=queue)


async def peek(session: Session, name: str, limit: int) -> None:
    """List waiting jobs."""
    await get_queue(session.connection, name)
    page = await list_jobs(session.connection, JobFilter(states=frozenset({JobState.QUEUED}), queue=name), limit=limit)
    session.output.list(
        page.jobs, JOB_COLUMNS, key=lambda job: job.job_id, empty=f"No job of {name} is waiting for a worker.", document=page
    )


async def _say_if_new(session: Session, queue: str) -> None:
    """Remark that a queue is not known: a name can be set up before its first job, and it can be mistyped in an emergency."""
    try:
        await get_queue(session.connection, queue)
    except QueueNotFoundError:
        session.output.remark(f"Queue {queue} did not exist and was created. See: naq queue list")


async def pause(session: Session, queue: str, until: str | None) -> None:
    """Pause a queue."""
    end = None if until is None else parse_instant(until, now=session.connection.clock.utc(), setting="until", ahead=True)
    await _say_if_new(session, queue)
    async with session.acting("pause-queue", queue, until=None if end is None else iso(end)):
        await pause_queue(session.connection, queue, end)
    how = f"naq queue resume {queue} resumes it" if end is None else f"until {iso(end)}"
    session.output.done(f"{queue} is paused: {how}.", names=[queue])


async def resume(session: Session, queue: str) -> None:
    """Resume a queue."""
    async with session.acting("resume-queue", queue):
        await resume_queue(session.connection, queue)
    session.output.done(f"{queue} is not paused.", names=[queue])


async def limit(session: Session, queue: str, most: str) -> None:
    """Set or lift a queue's limit."""
    if most != "none" and (not most.isdecimal() or int(most) == 0):
        raise CommandError(f"{most!r} is not a positive number or none", ExitCode.USAGE)
    number = None if most == "none" else int(most)
    await _say_if_new(session, queue)
    async with session.acting("limit-queue", queue, limit=most):
        await set_queue_limit(session.connection, queue, number)
    text = "no longer has a limit" if number is None else f"runs at most {counted(number, 'job')} at once across all workers"
    session.output.done(f"{queue} {text}.", names=[queue])


def _waits(view: QueueView) -> bool:
    return bool(view.waiting or view.held)


async def purge(session: Session, queue: str, *, yes: bool) -> None:
    """Purge a queue after asking."""
    view = await get_queue(session.connection, queue)
    session.output.confirm(
        f"{view.waiting:,} waiting and {view.held:,} delayed jobs of {queue} would be deleted.", yes=yes or not _waits(view)
    )
    async with session.acting("purge-queue", queue) as entry:
        deleted = await purge_queue(session.connection, queue)
        entry.reason = f"{counted(deleted, 'job')} deleted"
    session.output.done(f"{counted(deleted, 'job')} of {queue} {were(deleted)} deleted.", names=[str(deleted)])


async def delete(session: Session, queue: str) -> None:
    """Delete a queue that is empty; nothing can be lost, so nobody is asked."""
    await get_queue(session.connection, queue)
    try:
        async with session.acting("delete-queue", queue):
            await delete_queue(session.connection, queue)
    except QueueInUseError as error:
        advice = f"naq queue purge {queue} deletes waiting and held jobs, naq job delete queue:{queue} those that have ended"
        raise CommandError(f"{error}. {advice if error.jobs else f'See: naq queue show {queue}'}", ExitCode.REFUSED) from error
    session.output.done(f"{queue} was deleted.", names=[queue])
