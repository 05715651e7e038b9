"""Enqueueing from the dashboard, as `naq enqueue` does it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from litestar.exceptions import ValidationException

from naq_core.enqueue.submit import submit_on
from naq_core.filters import parse_instant
from naq_core.job import Job
from naq_core.option_set import OptionSet
from naq_core.settings import parse_duration
from naq_core.storage.connection import Connection
from naq_dashboard.actions.calls import SERIALIZER, read_call, read_function

__all__ = ["enqueue_job"]

MOST_RETRIES = 10_000


async def enqueue_job(connection: Connection, words: Mapping[str, str]) -> str:
    """Enqueue a call of a function that workers know by its name. Its `job_id` makes it safe to be repeated.

    Raises:
        ValidationException: A word is wrong. NaqError: It cannot be enqueued.
    """
    function = read_function(words.get("function", ""))
    args, kwargs = read_call(words)
    name = words.get("queue", "").strip() or connection.settings.default_queue
    options = OptionSet(_options(words, connection.clock.utc()))
    job: Job[Any] = Job(function, args, kwargs, queue=name, serializer=SERIALIZER, options=options)
    await submit_on(connection, job)
    if not job.is_new:
        return f"Job {job.job_id} already exists and was not changed."
    return f"Enqueued as {job.job_id} on queue {job.queue}."


def _options(words: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """Return the client's keywords for what was given; an empty field means the default."""
    given = {
        name: value
        for name in ("job_id", "priority", "delay", "max_retries", "timeout")
        if (value := words.get(name, "").strip())
    }
    options: dict[str, Any] = {name: given[name] for name in ("job_id", "priority") if name in given}
    if "delay" in given:
        options["at"] = parse_instant(given["delay"], now=now, setting="delay", ahead=True)
    if "max_retries" in given:
        text = given["max_retries"]
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= MOST_RETRIES):
            raise ValidationException(f"max_retries must be an integer from 0 to {MOST_RETRIES:,}, not {text[:40]!r}")
        options["max_retries"] = int(text)
    if "timeout" in given:
        try:
            options["timeout"] = parse_duration(given["timeout"])
        except (ValueError, OverflowError) as error:
            raise ValidationException(f"timeout: {given['timeout'][:40]!r} {error}") from error
    return options
