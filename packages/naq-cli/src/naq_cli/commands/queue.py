"""`naq queue`: queues and what can be done to all jobs of one."""

from typing import Annotated

from cyclopts import App, Parameter

from naq_cli._options import COMMON, DESTROYING, READING, Common, Destroying, Reading

app = App(name="queue", help="List, show, pause, limit and purge queues.")


@app.command(name="list")
def list_(*, options: Reading = READING) -> int:
    """List every queue that was ever enqueued to, with its jobs by state."""
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
    """Show the jobs that wait for a worker, those that are next at the end.

    Args:
        queue: The queue.
        limit: How many.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue peek", options, lambda session: queues.peek(session, queue, limit))


@app.command
def pause(queue: str, /, *, until: str | None = None, options: Common = COMMON) -> int:
    """Stop the delivery of a queue's jobs to all workers; running ones go on.

    Args:
        queue: The queue.
        until: When the server resumes it by itself: a duration from now (30m) or a time (2026-11-24T12:30:00Z).
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue pause", options, lambda session: queues.pause(session, queue, until))


@app.command
def resume(queue: str, /, *, options: Common = COMMON) -> int:
    """Deliver a paused queue's jobs again.

    Args:
        queue: The queue.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue resume", options, lambda session: queues.resume(session, queue))


@app.command
def limit(queue: str, most: str, /, *, options: Common = COMMON) -> int:
    """Limit how many jobs of a queue run at once, over all workers.

    Args:
        queue: The queue.
        most: A number from 1, or none to lift the limit.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue limit", options, lambda session: queues.limit(session, queue, most))


@app.command
def purge(queue: str, /, *, options: Destroying = DESTROYING) -> int:
    """Delete every job of a queue that waits for a worker or for its time.

    Running and dead jobs stay; naq job delete state:dead queue:NAME deletes dead ones.

    Args:
        queue: The queue.
    """
    from naq_cli._session import online
    from naq_cli.actions import queues

    return online("queue purge", options, lambda session: queues.purge(session, queue, yes=options.yes))
