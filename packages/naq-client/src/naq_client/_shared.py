"""The connection that tasks and workflows of an event loop share."""

import asyncio
from weakref import WeakKeyDictionary

from naq_client._portal import portal
from naq_client.queue import Queue

_queues: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Queue]]" = WeakKeyDictionary()


async def shared_queue(name: str | None) -> Queue:
    """Return this event loop's queue of that name; all of a loop's queues share one connection."""
    loop = asyncio.get_running_loop()
    queues = _queues.setdefault(loop, {})
    key = name or ""
    if key not in queues:
        if not queues:
            queues[key] = Queue(name)
        else:
            first = next(iter(queues.values()))
            queues[key] = Queue(name, connection=await first.connection())
    return queues[key]


async def disconnect() -> None:
    """Close the connection that tasks have opened on this event loop; the next enqueue opens a new one."""
    for queue in _queues.pop(asyncio.get_running_loop(), {}).values():
        await queue.close()


def disconnect_sync() -> None:
    """As `disconnect`, for the connection behind `enqueue_sync`."""
    portal().run(disconnect())
