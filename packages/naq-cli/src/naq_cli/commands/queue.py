"""`naq queue`: list, show, pause, limit and purge queues."""

from typing import Annotated

from cyclopts import App, Parameter

from naq_cli._options import COMMON, DESTROYING, READING, Common, Destroying, Reading

app = App(name="queue", help="List, show, pause, limit, purge and delete queues.")


@app.command(name="list")
def list_(*, options: Reading = READING) -> int:
    """List every queue, with its jobs by state."""
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue list", options, queues.list_all)


@app.command
def show(queue: str, /, *, options: Reading = READING) -> int:
    """Show one queue: its jobs by state, its workers, pause and limit.

    Args:
        queue: The queue.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue show", options, lambda session: queues.show_one(session, queue))


@app.command
def peek(queue: str, /, *, limit: Annotated[int, Parameter(alias="-n")] = 10, options: Reading = READING) -> int:
    """Show the jobs that are waiting for a worker; the next one to run is the last line.

    Args:
        queue: The queue.
        limit: The number of jobs.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue peek", options, lambda session: queues.peek(session, queue, limit))


@app.command
def pause(queue: str, /, *, until: str | None = None, options: Common = COMMON) -> int:
    """Stop delivering a queue's jobs to workers; running jobs continue.

    Args:
        queue: The queue.
        until: When to resume it automatically: a duration from now (30m) or a time (2026-11-24T12:30:00Z).
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue pause", options, lambda session: queues.pause(session, queue, until))


@app.command
def resume(queue: str, /, *, options: Common = COMMON) -> int:
    """Resume a paused queue.

    Args:
        queue: The queue.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue resume", options, lambda session: queues.resume(session, queue))


@app.command
def limit(queue: str, most: str, /, *, options: Common = COMMON) -> int:
    """Limit how many jobs of a queue run at once, across all workers.

    Args:
        queue: The queue.
        most: A positive number, or none to remove the limit.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue limit", options, lambda session: queues.limit(session, queue, most))


@app.command
def purge(queue: str, /, *, options: Destroying = DESTROYING) -> int:
    """Delete every waiting or delayed job of a queue.

    Running and dead jobs stay; naq job delete state:dead queue:NAME deletes dead ones.

    Args:
        queue: The queue.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue purge", options, lambda session: queues.purge(session, queue, yes=options.yes))


@app.command
def delete(queue: str, /, *, options: Common = COMMON) -> int:
    """Delete an empty queue that no worker serves, with its pause and limit, such as one made by a typing error.

    Records of jobs that have ended stay. The queue comes back when a job is enqueued to it.

    Args:
        queue: The queue.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue delete", options, lambda session: queues.delete(session, queue))
