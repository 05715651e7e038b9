"""`naq workers`: the worker processes that live."""

from cyclopts import App

from naq_cli._options import READING, Reading

app = App(name="workers", help="List, show, quiet and stop worker processes.")


@app.default
@app.command(name="list")
def list_(*, queue: str | None = None, options: Reading = READING) -> int:
    """List the workers that live, the oldest first.

    Args:
        queue: Only those that take jobs from this queue.
    """
    from naq_cli._session import online
    from naq_cli.actions.workers import list_all

    return online("workers list", options, lambda session: list_all(session, queue))


@app.command
def show(worker: str, *, options: Reading = READING) -> int:
    """Show one worker and the jobs it runs.

    Args:
        worker: Its id, or the beginning of it.
    """
    from naq_cli._session import online
    from naq_cli.actions.workers import show_one

    return online("workers show", options, lambda session: show_one(session, worker))
