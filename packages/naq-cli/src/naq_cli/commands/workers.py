"""`naq workers`: list, show, quiet, resize and stop worker processes."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from naq_cli._errors import CommandError
from naq_cli._format import as_time, printable
from naq_cli._options import Reading
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core.inspect import list_workers
from naq_core.manage import quiet_worker, resize_worker, resume_worker, stop_worker, worker_stacks
from naq_core.wording import counted, size

app = App(name="workers", help="List, show, quiet, resize and stop worker processes.")

Worker = dict[str, Any]


def _slots(worker: Worker) -> str:
    return f"{len(worker.get('running') or {})}/{worker.get('concurrency', '?')}"


def _queues(worker: Worker) -> list[str]:
    """The patterns of a worker, and the queues that it serves now."""
    return [*(worker.get("patterns") or ()), *(worker.get("queues") or ())]


def _state(worker: Worker) -> str:
    return str(worker.get("state") or "running")


COLUMNS = (
    Column("Worker", lambda worker: worker.get("worker_id", "")),
    Column("Host", lambda worker: worker.get("host"), wrap=True),
    Column("Pid", lambda worker: str(worker.get("pid", "")), rank=3, right=True),
    Column("State", _state, rank=2),
    Column("Queues", _queues, wrap=True),
    Column("Running", _slots, right=True),
    Column("Started", lambda worker: as_time(worker.get("started_at")), right=True),
    Column("Seen", lambda worker: as_time(worker.get("at")), rank=2, right=True),
    Column("Memory", lambda worker: size(worker.get("rss") or 0), rank=4, right=True),
    Column("Version", lambda worker: worker.get("version"), rank=5),
)


@app.default
@app.command(name="list")
@connected("workers list", Reading)
async def list_(session: Session, *, queue: str | None = None) -> None:
    """List the running workers, oldest first.

    Args:
        queue: Only workers that serve this queue.
    """
    workers = [each for each in await list_workers(session.connection) if queue is None or queue in (each.get("queues") or ())]
    empty = "No worker is running. Start one: naq worker" if queue is None else f"No worker serves {queue}."
    session.output.list(workers, COLUMNS, key=lambda worker: str(worker.get("worker_id")), empty=empty)


@app.command
@connected("workers show", Reading)
async def show(session: Session, worker: str, /) -> None:
    """Show one worker and the jobs it runs.

    Args:
        worker: The worker's id, or the start of it.
    """
    found = await find_worker(session, worker)
    now = datetime.now(UTC)
    known = {"patterns", "running", "started_at", "at", "rss", "worker_id", "queues"}
    pairs = [
        ("Worker", found.get("worker_id")),
        ("Unreadable", found.get("unreadable")),
        ("Queues", _queues(found)),
        ("Running", _slots(found)),
        ("Started", as_time(found.get("started_at"))),
        ("Seen", as_time(found.get("at"))),
        ("Memory", size(found.get("rss") or 0)),
        *((name.replace("_", " ").capitalize(), str(value)) for name, value in found.items() if name not in known),
    ]
    for job_id, started in (found.get("running") or {}).items():
        at = as_time(started)
        pairs.append(("Job", f"{job_id} for {(now - at).total_seconds():.0f} s" if at else job_id))
    session.output.facts(pairs, document=found)


@app.command
@connected("workers quiet")
async def quiet(session: Session, worker: str, /) -> None:
    """Stop a worker from taking new jobs; it finishes its running jobs and stays up.

    Args:
        worker: The worker's id, or the start of it.
    """
    await _steer(session, "quiet", worker)


@app.command
@connected("workers resume")
async def resume(session: Session, worker: str, /) -> None:
    """Let a quiet worker take jobs again.

    Args:
        worker: The worker's id, or the start of it.
    """
    await _steer(session, "resume", worker)


@app.command
@connected("workers resize")
async def resize(session: Session, worker: str, concurrency: int, /) -> None:
    """Let a worker run another number of jobs at a time, until it is restarted; running jobs finish.

    Args:
        worker: The worker's id, or the start of it.
        concurrency: How many jobs it runs at a time from now on.
    """
    found = str((await find_worker(session, worker))["worker_id"])
    async with session.acting("resize-worker", found, concurrency=concurrency):
        await resize_worker(session.connection, found, concurrency)
    session.output.done(f"{found} runs {counted(concurrency, 'job')} at a time.", names=[found])


@app.command
@connected("workers stack")
async def stack(session: Session, worker: str, /) -> None:
    """Print what a worker is doing: the stacks of its jobs, threads and child processes, without any values.

    It also answers while a job blocks its event loop.

    Args:
        worker: The worker's id, or the start of it.
    """
    found = str((await find_worker(session, worker))["worker_id"])
    async with session.acting("stack-worker", found):
        text = await worker_stacks(session.connection, found)
    session.output.lines(printable(text).splitlines())


@app.command
@connected("workers stop")
async def stop(session: Session, worker: str, /, *, now: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Stop a worker as SIGTERM does: it waits for running jobs up to its grace time and requeues the rest.

    Args:
        worker: The worker's id, or the start of it.
        now: Requeue running jobs at once.
    """
    await _steer(session, "stop", worker, now=now)


async def _steer(session: Session, verb: Literal["quiet", "resume", "stop"], worker_id: str, *, now: bool = False) -> None:
    """Ask a worker to do something; it has done so when this returns."""
    worker = str((await find_worker(session, worker_id))["worker_id"])
    connection = session.connection
    async with session.acting(f"{verb}-worker", worker, now="yes" if now else ""):
        if verb == "quiet":
            await quiet_worker(connection, worker)
            text = f"{worker} takes no more jobs. Undo: naq workers resume {worker}"
        elif verb == "resume":
            await resume_worker(connection, worker)
            text = f"{worker} takes jobs again."
        else:
            await stop_worker(connection, worker, now=now)
            text = f"{worker} is stopping."
    session.output.done(text, names=[worker])


async def find_worker(session: Session, worker_id: str) -> Worker:
    """Return the one living worker whose id begins so.

    Raises:
        CommandError: No worker matches, or several do.
    """
    workers = await list_workers(session.connection)
    exact = [each for each in workers if each.get("worker_id") == worker_id]
    found = exact or [each for each in workers if str(each.get("worker_id", "")).startswith(worker_id)]
    if not found:
        raise CommandError(f"no running worker with id {worker_id}. See: naq workers", ExitCode.NOT_FOUND)
    if len(found) > 1:
        names = ", ".join(str(each.get("worker_id")) for each in found)
        raise CommandError(f"{worker_id} matches {len(found)} ids: {names}", ExitCode.USAGE)
    return found[0]
