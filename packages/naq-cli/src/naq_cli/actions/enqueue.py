"""Enqueueing from the terminal."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from naq_cli._calls import check_function, read_call
from naq_cli._errors import CommandError
from naq_cli._following import follow_job
from naq_cli._jobs import write_result
from naq_cli._options import seconds_of
from naq_cli._session import Session
from naq_cli.commands.enqueue import JobOptions, Waiting
from naq_cli.exit_codes import ExitCode
from naq_core.enqueue.submit import submit_on
from naq_core.filters import parse_instant
from naq_core.inspect import wait_for_job
from naq_core.job import Job
from naq_core.option_set import OptionSet
from naq_core.settings import parse_duration


async def enqueue_call(
    session: Session,
    function: str,
    arguments: Sequence[str],
    json_args: str | None,
    options: JobOptions,
    waiting: Waiting,
) -> int:
    """Enqueue, print the id, and wait where that was asked for."""
    check_function(function)
    args, kwargs = read_call(arguments, json_args)
    patience = seconds_of(waiting.timeout, "--timeout")
    connection = session.connection
    job: Job[Any] = Job(
        function,
        args,
        kwargs,
        queue=connection.settings.default_queue if options.queue is None else options.queue,
        serializer=connection.settings.job_serializer,
        options=OptionSet(job_options(options, connection.clock.utc())),
    )
    await submit_on(connection, job)
    if options.unique is not None and not job.is_new:
        session.output.remark(f"A job with the key {options.unique} already exists.")
    waits = waiting.wait or waiting.follow or patience is not None
    output = session.output
    if not waits:
        document = {"job_id": job.job_id, "queue": job.queue, "function": function}
        if output.is_terminal:
            output.lines([job.job_id])
            output.remark(f"on queue {job.queue}. Its result: naq job result {job.job_id} --wait")
        else:
            output.done(job.job_id, names=[job.job_id], document=document)
        return ExitCode.OK
    output.remark(f"{job.job_id} on queue {job.queue}")
    if waiting.follow:
        ended = await follow_job(session, f"{job.job_id}@{job.queue}", patience)
    else:
        ended = await wait_for_job(session.connection, f"{job.job_id}@{job.queue}", patience)
    return await write_result(session, ended)


def job_options(options: JobOptions, now: datetime) -> dict[str, Any]:
    """Return the client's keywords for the options that were given; durations count from `now`, the server's time."""
    names = ("job_id", "max_retries", "priority", "unique", "on_clash")
    given: dict[str, Any] = {name: value for name in names if (value := getattr(options, name)) is not None}
    given |= _times(options, now)
    if options.depends_on:
        given["depends_on"] = list(options.depends_on)
        given["allow_failure"] = options.allow_failure
    if options.process:
        given["process"] = True
    if options.job_timeout is not None:
        given["timeout"] = seconds_of(options.job_timeout, "--job-timeout")
    if options.retry_delay is not None:
        try:
            given["retry_delay"] = [parse_duration(each).total_seconds() for each in options.retry_delay.split(",")]
        except ValueError as error:
            raise CommandError(f"--retry-delay: {options.retry_delay!r} {error}", ExitCode.USAGE) from error
    return given


def _times(options: JobOptions, now: datetime) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if options.in_ is not None and options.at is not None:
        raise CommandError("give one of --in and --at", ExitCode.USAGE)
    if options.in_ is not None:
        given["delay"] = seconds_of(options.in_, "--in")
    if options.at is not None:
        given["at"] = parse_instant(options.at, now=now, setting="--at", ahead=True)
    if options.expires is not None:
        given["expires"] = parse_instant(options.expires, now=now, setting="--expires", ahead=True)
    if options.debounce is not None:
        given["debounce"] = seconds_of(options.debounce, "--debounce")
    return given
