"""Looking at the jobs that wait, from a test."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from naq_core.connection import Connection
from naq_core.functions import function_name, unwrap
from naq_core.job import Job
from naq_core.storage.subjects import state_of_subject
from naq_core.transport.streams import each_message
from naq_core.wording import counted

WAITING = frozenset({"high", "normal", "low", "held"})


async def waiting_jobs(connection: Connection, queue: str = "*") -> list[Job[Any]]:
    """Return the jobs that wait for a worker, for their time or for other jobs, the oldest first.

    A job that a worker has in hand is among them until it has ended; a dead one is not.
    """
    jobs = []
    names = connection.names
    async for message in each_message(connection, names.jobs_stream, names.any_state(queue, "*")):
        state, its_queue, _ = state_of_subject(message.subject)
        if state in WAITING:
            settings = connection.settings
            job = Job.deserialize(message.data, queue=its_queue, serializer=settings.job_serializer, settings=settings)
            job.bind(connection)
            await job.load_arguments(connection)
            jobs.append(job)
    return jobs


async def assert_enqueued(
    connection: Connection,
    function: Callable[..., Any] | str,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: str | None = None,
    count: int | None = None,
) -> list[Job[Any]]:
    """Assert that calls of a function wait to be run, and return their jobs.

    Args:
        connection: An open connection to the namespace under test.
        function: A function, a task, or the name `"module:function"`.
        args: Only calls with exactly these positional arguments; None means any.
        kwargs: Only calls with exactly these keyword arguments; None means any.
        queue: Only this queue's; None means all queues.
        count: How many there must be; None means at least one, 0 none.

    Raises:
        AssertionError: Too few or too many; the message lists what is there.
    """
    __tracebackhide__ = True  # pytest shows the caller's line, not this function
    wanted = function if isinstance(function, str) else function_name(unwrap(function))
    there = await waiting_jobs(connection, queue or "*")
    found = [
        job
        for job in there
        if job.function_name == wanted
        and (args is None or job.args == tuple(args))
        and (kwargs is None or job.kwargs == dict(kwargs))
    ]
    if (not found) if count is None else (len(found) != count):
        expected = "at least one call" if count is None else counted(count, "call")
        with_arguments = "" if args is None and kwargs is None else f" with {_shown(args or (), kwargs or {})}"
        on = "" if queue is None else f" on queue {queue!r}"
        lines = [f"expected {expected} of {wanted}{with_arguments}{on}, found {len(found)}; waiting jobs:"]
        lines += [f"  {job.queue}: {job.function_name}({_shown(job.args, job.kwargs)})" for job in there] or ["  nothing"]
        raise AssertionError("\n".join(lines))
    return found


def _shown(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    return ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
