"""The queues and how full they are."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from naq_core.decoding import parse_instant
from naq_core.errors import QueueNotFoundError
from naq_core.inspect.keys import waiting_keys
from naq_core.inspect.workers import list_workers
from naq_core.names import check_queue
from naq_core.queue_policy import QueuePolicy
from naq_core.storage.connection import Connection
from naq_core.storage.consumers import ConsumerFacts, list_consumers
from naq_core.storage.queues import QueueSettings, decode_queue_settings
from naq_core.storage.subjects import ALL, FAR_FUTURE, state_of_subject
from naq_core.transport.direct import Entry, count_many, get_many
from naq_core.views import QueueView

FEW = 64
"""Queues up to which one more question costs more than it saves."""
NEARBY = 16
SHORT = 100
"""Jobs up to which the server finds a queue's next one at once."""


async def list_queues(connection: Connection) -> list[QueueView]:
    """Return every queue that was ever enqueued to or worked on, by name."""
    return await _views(connection, await list_consumers(connection))


async def get_queue(connection: Connection, queue: str) -> QueueView:
    """Return one queue.

    Raises:
        InvalidNameError: This can be no queue's name.
        QueueNotFoundError: Nothing was ever enqueued to it, and no worker has taken jobs from it.
    """
    queue = check_queue(queue)
    views = await _views(connection, await list_consumers(connection, queue))
    if not views:
        raise QueueNotFoundError(queue)
    (view,) = views
    if view.waiting_for_key:
        view.keys = await waiting_keys(connection, queue)
    return view


async def _views(connection: Connection, consumers: Sequence[ConsumerFacts]) -> list[QueueView]:
    names = connection.names
    queues = sorted({each.queue for each in consumers})
    if not queues:
        return []
    views = {queue: QueueView(queue=queue) for queue in queues}
    for each in consumers:
        view = views[each.queue]
        view.queued += each.pending
        view.waiting = view.queued
        view.running += each.unsettled
        view.redelivered += each.redelivered
        view.paused = view.paused or each.is_paused
        view.by_priority[each.level] = each.pending
    held, dead, (keyed, rated), workers, *_ = await asyncio.gather(
        _count_each(connection, names.held, queues),
        _count_each(connection, names.dead, queues),
        _count_waiting(connection, queues),
        list_workers(connection),
        _add_oldest(connection, consumers, views),
        _add_settings(connection, views),
    )
    for queue, waiting, buried, entries, of_all in zip(queues, held, dead, keyed, rated, strict=True):
        view = views[queue]
        view.held, view.dead = waiting, buried
        # Entries of cancelled jobs stay for a while.
        view.waiting_for_rate = min(waiting, of_all)
        view.waiting_for_key = max(0, min(waiting - view.waiting_for_rate, entries - of_all))
    for worker in workers:
        for queue in worker.get("queues", ()):
            if queue in views:
                views[queue].workers += 1
    return list(views.values())


async def _count_each(connection: Connection, subject_of: Callable[[str, str], str], queues: Sequence[str]) -> list[int]:
    """Count each queue's messages of one state; very many queues are asked one by one only if such messages exist."""
    stream = connection.names.jobs_stream
    if len(queues) > FEW and await count_many(connection, stream, [subject_of("*", "*")]) == [0]:
        return [0] * len(queues)
    return await count_many(connection, stream, [subject_of(queue, "*") for queue in queues])


async def _count_waiting(connection: Connection, queues: Sequence[str]) -> tuple[list[int], list[int]]:
    """Count each queue's entries of jobs that wait for a key or the queue's rate, and those among them that wait for the rate."""
    names = connection.names
    entries = await _count_each(connection, names.waits_for_key, queues)
    if not any(entries):
        return entries, entries
    return entries, await _count_each(connection, lambda queue, _: names.waits_for_key(queue, ALL), queues)


async def _add_oldest(connection: Connection, consumers: Sequence[ConsumerFacts], views: dict[str, QueueView]) -> None:
    """The oldest queued job is the first behind what was delivered last."""
    names = connection.names
    short = [each for each in consumers if 0 < each.pending <= SHORT]
    busy = [each for each in consumers if each.pending > SHORT]
    # Of a long queue the next few sequences first: for "the next that matches" the server goes through all subjects that match.
    nearby: list[dict[str, Any]] = [
        {"seq": sequence} for each in busy for sequence in range(each.delivered + 1, each.delivered + 1 + NEARBY)
    ]
    found = await get_many(connection, names.jobs_stream, nearby)
    far: list[tuple[ConsumerFacts, int]] = [(each, each.delivered + 1) for each in short]
    for number, each in enumerate(busy):
        window = found[number * NEARBY : (number + 1) * NEARBY]
        mine = [entry for entry in window if entry and state_of_subject(entry.subject)[:2] == (each.level, each.queue)]
        if mine:
            _note_age(views[each.queue], mine[0])
        else:
            far.append((each, each.delivered + 1 + NEARBY))
    requests = [{"seq": start, "next_by_subj": names.ready_filter(each.queue, each.level)} for each, start in far]
    for (each, _), entry in zip(far, await get_many(connection, names.jobs_stream, requests), strict=True):
        if entry is not None:
            _note_age(views[each.queue], entry)


def _note_age(view: QueueView, entry: Entry) -> None:
    at = parse_instant(entry.stored_at)
    view.oldest_at = min((each for each in (view.oldest_at, at) if each is not None), default=None)


async def _add_settings(connection: Connection, views: dict[str, QueueView]) -> None:
    names = connection.names
    if len(views) > FEW and await count_many(connection, names.queues_stream, [names.queue_setting("*")]) == [0]:
        return
    requests: list[dict[str, Any]] = [{"last_by_subj": names.queue_setting(queue)} for queue in views]
    for view, found in zip(views.values(), await get_many(connection, names.queues_stream, requests), strict=True):
        settings = _settings(found)
        for name in QueuePolicy.__struct_fields__:
            setattr(view, name, getattr(settings, name))
        if view.paused and settings.paused_until != FAR_FUTURE:
            view.paused_until = parse_instant(settings.paused_until)


def _settings(found: Entry | None) -> QueueSettings:
    return (None if found is None else decode_queue_settings(found.data, found.subject)) or QueueSettings()
