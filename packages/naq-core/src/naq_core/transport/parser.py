"""Reading NATS's wire protocol: messages without regular expressions and copies, everything else by nats-py's parser.

nats-py's own parser and its queue and task per subscription took a third of a worker's time (`docs/adr/0025-quick-client.md`).
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from naq_core.transport.replies import Handler

if TYPE_CHECKING:
    from naq_core.transport.client import QuickClient

log = logging.getLogger(__name__)

CRLF = b"\r\n"
HMSG = ord("H")
LONGEST_LINE = 1 << 20
"""A server's INFO is one line, with the addresses of the whole cluster in it."""


class QuickParser(Parser):
    """Splits what was read into whole messages; keeps the incomplete rest.

    Args:
        client: The client, which takes everything that is not for a listener.
        listeners: What takes the messages of a subscription.
    """

    def __init__(self, client: "QuickClient", listeners: Mapping[int, Handler]) -> None:
        super().__init__(client)
        self._client = client
        self._listeners = listeners

    def reset(self) -> None:
        """Forget what is incomplete: a new connection begins."""
        super().reset()
        self._rest = bytearray()
        self._needed = 0
        """How long the rest must be before it is worth looking at again."""
        self.taken = 0
        """How many messages the last chunk had for listeners."""

    async def parse(self, data: bytes = b"") -> None:
        """Take every complete message and command.

        Raises:
            ProtocolError: The peer does not speak NATS; nats-py then reconnects.
        """
        while data := self.take(data):
            data = await self._take_first(data)

    def take(self, data: bytes) -> bytes:  # noqa: C901 - on the path of every message: no calls
        """Hand complete messages to their listeners, and return the rest from the first one on that is not for a listener.

        An incomplete message is kept until its end comes.

        Raises:
            ProtocolError: The peer does not speak NATS.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return b""
            data = bytes(self._rest)
            self._rest = bytearray()
        self._needed = at = taken = 0
        self.taken = 0
        while (end := data.find(CRLF, at)) >= 0:
            line = data[at:end]
            if line[:4] != b"MSG " and line[:5] != b"HMSG ":
                return data[at:]
            arguments = line.split(b" ")  # [H]MSG subject sid [reply] [size of headers] size
            has_headers = line[0] == HMSG
            begin = headers_end = end + 2
            try:
                sid, stop = int(arguments[2]), begin + int(arguments[-1])
                if has_headers:
                    headers_end += int(arguments[-2])
            except (ValueError, IndexError):
                raise ProtocolError from None
            if len(data) < stop + 2:
                self._needed = stop + 2 - at
                break
            listener = self._listeners.get(sid)
            if listener is None:
                return data[at:]
            at = stop + 2
            taken += 1
            reply = arguments[3] if len(arguments) == 5 + has_headers else b""
            try:
                listener(arguments[1], reply, data[headers_end:stop], data[begin:headers_end])
            except Exception:
                log.exception("a message on %r could not be handled", arguments[1])
        if end < 0 and len(data) - at > LONGEST_LINE:
            raise ProtocolError
        self._rest = bytearray(data[at:])
        self.taken = taken
        return b""

    async def _take_first(self, data: bytes) -> bytes:
        """Let nats-py take a complete message or command, and return what follows it."""
        line, _, rest = data.partition(CRLF)
        if line[:4] != b"MSG " and line[:5] != b"HMSG ":
            self.buf = bytearray(line + CRLF)
            await super().parse()
            return rest
        arguments = line.split(b" ")
        size, headers_size = int(arguments[-1]), int(arguments[-2]) if line[0] == HMSG else 0
        reply = arguments[3] if len(arguments) == 5 + (line[0] == HMSG) else b""
        await self._client.take_other(int(arguments[2]), arguments[1], reply, rest[headers_size:size], rest[:headers_size])
        return rest[size + 2 :]
