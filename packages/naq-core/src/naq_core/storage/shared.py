"""The connections that calls without a queue share: one for each event loop and server."""

import threading

from naq_core.settings import Settings
from naq_core.storage.loops import LoopConnections

_connections: dict[Settings, LoopConnections] = {}
_lock = threading.Lock()


def shared_connections(settings: Settings) -> LoopConnections:
    """Return the connections that all calls with these settings share."""
    with _lock:
        found = _connections.get(settings)
        if found is None:
            found = _connections[settings] = LoopConnections(settings, "naq-client-shared")
        return found


async def close_shared() -> None:
    """Close those of the running event loop; the next use opens another."""
    for each in tuple(_connections.values()):
        await each.close()


def forget_shared() -> None:
    """Have those of all event loops closed, as `LoopConnections.close_all`. Callable from any thread."""
    with _lock:
        forgotten = tuple(_connections.values())
        _connections.clear()
    for each in forgotten:
        each.close_all()
