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
    """How the job is run; what is not given is left to NAQ."""

    queue: Annotated[str | None, Parameter(alias="-Q")] = None
    """The queue (NAQ_DEFAULT_QUEUE)."""
    job_id: str | None = None
    """An id of your own: while a job or its record of that id exists, another is not run."""
    in_: Annotated[str | None, Parameter(name="--in")] = None
    """Not before so long from now: 30s, 5m, 2h."""
    at: str | None = None
    """Not before this time: 2026-11-24T12:30:00Z; without a zone it is UTC."""
    expires: str | None = None
    """Not started later than so long from now, or than this time."""
    priority: Literal["high", "normal", "low"] | None = None
    """Which of the queue's waiting jobs a worker takes first."""
    unique: str | None = None
    """A key: while a job of it waits or runs, no second one is enqueued (exit code 7)."""
    on_clash: Literal["refuse", "return", "replace"] | None = None
    """What to do then: refuse, return the job that is there, or replace it if it waits."""
    debounce: str | None = None
    """Wait so long for another job of the same --unique key, which takes this one's place."""
    depends_on: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """The id of a job that must have succeeded before; may be repeated."""
    allow_failure: Annotated[bool, Parameter(negative="")] = False
    """It starts when those jobs have ended, however."""
    max_retries: int | None = None
    """How often a failed attempt is repeated."""
    retry_delay: str | None = None
    """Before each retry: 30s, or a list 1s,10s,60s."""
    job_timeout: str | None = None
    """How long one attempt may take."""
    process: Annotated[bool, Parameter(negative="")] = False
    """Run in a process of its own."""


@Parameter(name="*", group=WAITING)
@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What to do after the job is stored."""

    wait: Annotated[bool, Parameter(negative="")] = False
    """Wait for the end and print the result; exit code 1 where it did not succeed."""
    follow: Annotated[bool, Parameter(alias="-f", negative="")] = False
    """Also print its log and progress meanwhile."""
    timeout: str | None = None
    """Wait no longer than this, then exit with 124; the job goes on. Implies --wait."""


NO_OPTIONS = JobOptions()
NO_WAITING = Waiting()


def enqueue(
    function: str,
    /,
    *arguments: str,
    json_args: str | None = None,
    job: JobOptions = NO_OPTIONS,
    waiting: Waiting = NO_WAITING,
    options: Reading = READING,
) -> int:
    """Enqueue the call of a function and print the job's id.

    An argument that is JSON (2, true, [1, 2], "2") is passed as what it means, anything else as text; name=value is a keyword
    argument. The function is not imported here: the worker has to know it. Put -- before arguments that begin with a dash.

    Examples: naq enqueue math:sqrt 2 --wait · naq enqueue shop.mail:send ada@example.org subject=Hi --queue mail

    Args:
        function: As module:function.
        arguments: Its arguments.
        json_args: All arguments as one JSON list, one object of keyword arguments, or [list, object]; - reads standard input.
    """
    from naq_cli._session import online
    from naq_cli.actions.enqueue import enqueue_call

    return online("enqueue", options, lambda session: enqueue_call(session, function, arguments, json_args, job, waiting))
