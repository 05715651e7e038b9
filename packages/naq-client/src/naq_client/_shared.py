"""The connections that tasks and workflows share: one for each event loop, with the settings of the environment."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from naq_client._blocking_loop import blocking_loop
from naq_client.queue import Queue
from naq_core.settings import Settings
from naq_core.storage.loops import LoopConnections
from naq_core.storage.shared import close_shared, forget_shared, shared_connections


@cache
def _connections() -> LoopConnections:
    return shared_connections(Settings.load())


_queues: dict[str | None, Queue] = {}
_queues_by_settings: dict[str, Queue] = {}


def shared_queue(name: str | None) -> Queue:
    """Return the queue of that name, or the default one, on the connection that tasks share."""
    queue = _queues.get(name)
    if queue is None:
        queue = _queues[name] = Queue(name, connection=_connections())
    return queue


def queue_with(given: Mapping[str, Any], load: Callable[..., Settings]) -> Queue:
    """Return the queue of some settings, on the connection that all share who ask for the same ones.

    Args:
        given: Settings by their names.
        load: Adds those of the environment; called the first time.
    """
    key = repr(sorted(given.items()))
    found = _queues_by_settings.get(key)
    if found is None:
        found = _queues_by_settings[key] = Queue(connection=shared_connections(load(**given)))
    return found


async def disconnect() -> None:
    """Close the connections that tasks and `Job.fetch_result` have opened on this event loop; the next use opens a new one."""
    await close_shared()


def disconnect_sync() -> None:
    """As `disconnect`, for the connection behind `enqueue_sync`."""
    blocking_loop().run(disconnect())


def forget_settings() -> None:
    """Close the connections that tasks have opened on any event loop, and read the settings again at the next use.

    For programs that change their environment, such as tests; the pytest plugin calls it around each test.
    """
    forget_shared()
    _connections.cache_clear()
    _queues.clear()
    _queues_by_settings.clear()
