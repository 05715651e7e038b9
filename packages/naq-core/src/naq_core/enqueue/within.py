"""Middleware around an enqueue, a firing and a requeue."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from naq_core.call import JobCall
from naq_core.envelope import Envelope
from naq_core.errors import EnqueueSkippedError
from naq_core.layers import Layer, around, has_declared, in_order, of_function
from naq_core.middleware import Enqueue, Kind, Timing
from naq_core.options import with_given
from naq_core.storage.connection import Connection

T = TypeVar("T")


def has_middleware(connection: Connection) -> bool:
    """Whether any middleware may be around an enqueue here: asked first, as few programs have any."""
    return bool(connection.settings.middleware) or has_declared()


async def within(connection: Connection, jobs: Sequence[JobCall[Any]], send: Callable[[], Awaitable[T]]) -> T:
    """Enqueue jobs within their middleware, which may change them.

    Args:
        send: Stores them, as they are by then.

    Raises:
        EnqueueSkippedError: A middleware has left it out. Whatever a middleware raises, and what `send` does.
    """
    if not has_middleware(connection):
        return await send()
    entries = [_entry(job) for job in jobs]
    layers = _layers(connection, [(entry, job.plain_function) for entry, job in zip(entries, jobs, strict=True)])

    async def store() -> T:
        for job, entry in zip(jobs, entries, strict=True):
            _take_over(job, entry)
        return await send()

    return await _run(layers, entries, store if layers else send)


async def within_stored(
    connection: Connection,
    kind: Kind,
    stored: Sequence[tuple[str, Envelope]],
    send: Callable[[list[Envelope]], Awaitable[T]],
    timing: Timing | None = None,
) -> T:
    """Enqueue jobs that are stored already within their middleware, without decoding their calls.

    Args:
        kind: What happens to them.
        stored: Queue and envelope of each.
        send: Stores them; is given the envelopes, the same objects where nothing was changed.
        timing: Of the schedule, for a firing.

    Raises:
        EnqueueSkippedError, InvalidOptionError: As `within`.
    """
    envelopes = [envelope for _, envelope in stored]
    if not connection.settings.middleware:
        return await send(envelopes)
    entries = [
        Enqueue(kind, each.id, queue, each.fn, each.opt, workflow=each.workflow, schedule=each.schedule, timing=timing)
        for queue, each in stored
    ]
    layers = _layers(connection, [(entry, None) for entry in entries])
    return await _run(layers, entries, lambda: send([_changed(*each) for each in zip(envelopes, entries, strict=True)]))


def _layers(connection: Connection, entries: Sequence[tuple[Enqueue, Any]]) -> list[Layer]:
    """Return the layers, each bound to those of the jobs that it is for."""
    found: list[Layer] = []
    for layer in connection.layers.enqueue:
        found += _bound(layer, [entry for entry, _ in entries])
    functions = {id(function): function for _, function in entries if function is not None}
    for key, function in functions.items() if has_declared() else ():
        for layer in of_function(function).enqueue:
            found += _bound(layer, [entry for entry, each in entries if id(each) == key])
    return in_order(found)


def _bound(layer: Layer, entries: Iterable[Enqueue]) -> list[Layer]:
    own = [entry for entry in entries if not layer.queues or entry.queue in layer.queues]
    return [layer._replace(begin=lambda _: layer.begin(own))] if own else []


async def _run(layers: Sequence[Layer], entries: Sequence[Enqueue], store: Callable[[], Awaitable[T]]) -> T:
    if not layers:
        return await store()
    results: list[T] = []

    async def call() -> None:
        results.append(await store())

    if not await around(layers, None, call):
        raise EnqueueSkippedError([entry.job_id for entry in entries])
    return results[0]


def _entry(job: JobCall[Any]) -> Enqueue:
    return Enqueue(
        "enqueue",
        job.job_id,
        job.queue,
        job.function_name,
        job.options,
        workflow=job.workflow,
        args=job.args,
        kwargs=job.kwargs,
    )


def _take_over(job: JobCall[Any], entry: Enqueue) -> None:
    """Change a job as its middleware wants it.

    Raises:
        InvalidOptionError: A value is wrong.
    """
    job.change_options(entry.options, entry.changed)
    if (expiry := entry.expiry) is not None:
        job.delivery = job.delivery._replace(expires_in=expiry.expires_in, expires_at=expiry.expires_at)
    job.change_arguments(entry.args or (), entry.kwargs or {})


def _changed(envelope: Envelope, entry: Enqueue) -> Envelope:
    options, expiry = entry.options, entry.expiry
    expires = envelope.expires if expiry is None else expiry.expiry(envelope.at)
    if options is envelope.opt and expires == envelope.expires:
        return envelope
    given = with_given(envelope.given, entry.changed)
    return msgspec.structs.replace(envelope, opt=options, expires=expires, given=given)
