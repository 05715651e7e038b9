"""`naq enqueue`: a function's call from the terminal."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from naq_cli._options import READING, Reading

RUNNING = Group("Running", sort_key=10)
WAITING = Group("Waiting", sort_key=11)


@Parameter(name="*", group=RUNNING)
@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How the job is run."""

    queue: Annotated[str | None, Parameter(alias="-Q")] = None
    """The queue (NAQ_DEFAULT_QUEUE)."""
    job_id: str | None = None
    """Your own id: no second job is enqueued while a job or record with this id exists."""
    in_: Annotated[str | None, Parameter(name="--in")] = None
    """Delay before the job may start: 30s, 5m, 2h."""
    at: str | None = None
    """Earliest start time: 2026-11-24T12:30:00Z; UTC if it has no time zone."""
    expires: str | None = None
    """Latest start: a duration from now, or a time."""
    priority: Literal["high", "normal", "low"] | None = None
    """Priority among the queue's waiting jobs."""
    unique: str | None = None
    """A unique key: no second job is enqueued while one with this key waits or runs (exit code 7)."""
    on_clash: Literal["refuse", "return", "replace"] | None = None
    """If the unique key is in use: refuse, return the existing job, or replace it if it is waiting."""
    debounce: str | None = None
    """Start after this time without another job of the same --unique key; a newer one replaces this one."""
    depends_on: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """The id of a job that must succeed first; may be repeated."""
    allow_failure: Annotated[bool, Parameter(negative="")] = False
    """Start once those jobs have ended, even if they failed."""
    max_retries: int | None = None
    """How many times a failed job is retried."""
    retry_delay: str | None = None
    """Delay before each retry: 30s, or a list 1s,10s,60s."""
    job_timeout: str | None = None
    """Time limit of one attempt."""
    process: Annotated[bool, Parameter(negative="")] = False
    """Run in a child process."""


@Parameter(name="*", group=WAITING)
@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What to do after the job is enqueued."""

    wait: Annotated[bool, Parameter(negative="")] = False
    """Wait for the job and print its result; exit code 1 if it did not succeed."""
    follow: Annotated[bool, Parameter(alias="-f", negative="")] = False
    """Also print its log and progress."""
    timeout: str | None = None
    """Wait at most this long, then exit with code 124; the job continues. Implies --wait."""


NO_OPTIONS = JobOptions()
NO_WAITING = Waiting()


def enqueue(
    function: str,
    /,
    *arguments: str,
    json_args: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    job: JobOptions = NO_OPTIONS,
    waiting: Waiting = NO_WAITING,
    options: Reading = READING,
) -> int:
    """Enqueue a function call and print the job's id.

    An argument that is valid JSON (2, true, [1, 2], "2") is decoded, anything else is passed as text; name=value is a keyword
    argument. The function is imported by the worker, not here. Put -- before arguments that begin with a dash.

    Examples: naq enqueue math:sqrt 2 --wait; naq enqueue shop.mail:send ada@example.org subject=Hi --queue mail

    Args:
        function: The function, as module:function.
        arguments: Its arguments.
        json_args: All arguments as one JSON list, one object of keyword arguments, or [list, object]; - reads standard input.
    """
    from naq_cli._session import online
    from naq_cli.actions.enqueue import enqueue_call

    return online("enqueue", options, lambda session: enqueue_call(session, function, arguments, json_args, job, waiting))
