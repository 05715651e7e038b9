"""One connection for each event loop that asks for it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from naq_core.settings import Settings
from naq_core.storage.connection import Connection
from naq_core.tasks import Background


@dataclass(slots=True)
class _Place:
    """What belongs to one event loop."""

    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Connection | None = None
    thread: int = field(default_factory=threading.get_ident)
    """In which the event loop runs, or ran."""


class LoopConnections:
    """Connections with the same settings, one for each event loop, opened at the first use.

    A program may have several loops: one after the other (`asyncio.run` for each request), in threads, or after a fork. The
    connection of a loop ends with the loop; one that is closed for good is replaced.

    Args:
        settings: The address and everything else.
        name: What the server calls the clients.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self._places: dict[asyncio.AbstractEventLoop, _Place] = {}

    async def get(self) -> Connection:
        """Return the running loop's open connection.

        Raises:
            BrokerUnavailableError: The server cannot be reached.
            JetStreamDisabledError, ServerTooOldError: Not the server NAQ needs.
        """
        loop = asyncio.get_running_loop()
        place = self._places.get(loop) or self._add(loop)
        if place.connection is None or place.connection.is_over:
            async with place.opening:
                if place.connection is None or place.connection.is_over:
                    connection = Connection(self.settings, name=self.name)
                    connection.elsewhere = self.get
                    await connection.open()
                    place.connection = connection
        return place.connection

    def _add(self, loop: asyncio.AbstractEventLoop) -> _Place:
        for other in [each for each in tuple(self._places) if each.is_closed()]:
            self._places.pop(other, None)
        return self._places.setdefault(loop, _Place())

    async def close(self) -> None:
        """Close the running loop's connection; the next `get` opens another."""
        place = self._places.pop(asyncio.get_running_loop(), None)
        if place is not None and place.connection is not None:
            await place.connection.close()

    def close_all(self) -> None:
        """Have the connections of all loops closed, and wait for those of this thread if none of its loops runs.

        Callable from any thread. A loop that does not run, such as that of a test session between two tests, may run again only
        to end: too late to close a connection in order.
        """
        is_free = not _has_running_loop()
        for loop, place in tuple(self._places.items()):
            if loop.is_closed():  # and its connection with it
                continue
            if is_free and place.thread == threading.get_ident():
                loop.run_until_complete(self.close())
            else:
                with contextlib.suppress(RuntimeError):  # it has been closed meanwhile
                    loop.call_soon_threadsafe(self._closer())

    def _closer(self) -> Callable[[], None]:
        closing = Background()

        def close() -> None:
            _ = closing.start(self.close(), "naq-close")

        return close


def _has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
