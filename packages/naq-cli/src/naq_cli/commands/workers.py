"""`naq workers`: list, show, quiet and stop worker processes."""

from typing import Annotated

from cyclopts import App, Parameter

from naq_cli._options import COMMON, READING, Common, Reading

app = App(name="workers", help="List, show, quiet and stop worker processes.")


@app.default
@app.command(name="list")
def list_(*, queue: str | None = None, options: Reading = READING) -> int:
    """List the running workers, oldest first.

    Args:
        queue: Only workers that serve this queue.
    """
    from naq_cli._session import online
    from naq_cli.actions.workers import list_all

    return online("workers list", options, lambda session: list_all(session, queue))


@app.command
def show(worker: str, /, *, options: Reading = READING) -> int:
    """Show one worker and the jobs it runs.

    Args:
        worker: The worker's id, or the start of it.
    """
    from naq_cli._session import online
    from naq_cli.actions.workers import show_one

    return online("workers show", options, lambda session: show_one(session, worker))


@app.command
def quiet(worker: str, /, *, options: Common = COMMON) -> int:
    """Stop a worker from taking new jobs; it finishes its running jobs and stays up.

    Args:
        worker: The worker's id, or the start of it.
    """
    from naq_cli._session import online
    from naq_cli.actions.workers import steer

    return online("workers quiet", options, lambda session: steer(session, "quiet", worker))


@app.command
def resume(worker: str, /, *, options: Common = COMMON) -> int:
    """Let a quiet worker take jobs again.

    Args:
        worker: The worker's id, or the start of it.
    """
    from naq_cli._session import online
    from naq_cli.actions.workers import steer

    return online("workers resume", options, lambda session: steer(session, "resume", worker))


@app.command
def stop(worker: str, /, *, now: Annotated[bool, Parameter(negative="")] = False, options: Common = COMMON) -> int:
    """Stop a worker as SIGTERM does: it waits for running jobs up to its grace time and requeues the rest.

    Args:
        worker: The worker's id, or the start of it.
        now: Requeue running jobs at once.
    """
    from naq_cli._session import online
    from naq_cli.actions.workers import steer

    return online("workers stop", options, lambda session: steer(session, "stop", worker, now=now))
