"""`naq enqueue`: a function's call from the terminal."""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter

from naq_cli._calls import function_of, read_call
from naq_cli._errors import CommandError
from naq_cli._following import follow_job
from naq_cli._job_options import TypedOptions, flags_named, offering
from naq_cli._jobs import write_result
from naq_cli._options import Reading, seconds_of
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core.enqueue.submit import submit_on
from naq_core.inspect import wait_for_job
from naq_core.job import Job
from naq_core.options import OPTIONS

WAITING = Group("Waiting", sort_key=12)


@offering(OPTIONS)
class EnqueuedJobOptions(TypedOptions):
    """How the job is run."""


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


NO_OPTIONS = EnqueuedJobOptions()
NO_WAITING = Waiting()


@connected("enqueue", Reading)
async def enqueue(
    session: Session,
    function: str,
    /,
    *arguments: str,
    json_args: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    job: EnqueuedJobOptions = NO_OPTIONS,
    waiting: Waiting = NO_WAITING,
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
    function = function_of(function)
    args, kwargs = read_call(arguments, json_args)
    patience = seconds_of(waiting.timeout, "--timeout")
    waits = waiting.wait or waiting.follow or patience is not None
    connection, output = session.connection, session.output
    options = job.read(connection.clock.utc())
    if waits and options.job.fast:
        raise CommandError("--fast: no record is kept, so the job cannot be waited for", ExitCode.USAGE)
    with flags_named():
        made: Job[Any] = Job(
            function,
            args,
            kwargs,
            queue=options.queue or connection.settings.default_queue,
            serializer=connection.settings.job_serializer,
            options=options,
        )
        await submit_on(connection, made)
    if made.delivery.unique and not made.is_new:
        output.remark(f"A job with the key {made.delivery.unique} already exists.")
    if not waits:
        document = {"job_id": made.job_id, "queue": made.queue, "function": function}
        if output.is_terminal:
            output.lines([made.job_id])
            output.remark(f"on queue {made.queue}. Its result: naq job result {made.job_id} --wait")
        else:
            output.done(made.job_id, names=[made.job_id], document=document)
        return ExitCode.OK
    output.remark(f"{made.job_id} on queue {made.queue}")
    place = f"{made.job_id}@{made.queue}"
    ended = await (follow_job(session, place, patience) if waiting.follow else wait_for_job(connection, place, patience))
    return await write_result(session, ended)
