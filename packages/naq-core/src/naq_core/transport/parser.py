"""Reading NATS's wire protocol: messages without regular expressions and copies, everything else by nats-py's parser.

nats-py's own parser and its queue and task per subscription took a third of a worker's time (`docs/adr/0025-quick-client.md`).
"""

from typing import TYPE_CHECKING

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from naq_core.transport.client import QuickClient

CRLF = b"\r\n"
HMSG = ord("H")
LONGEST_LINE = 1 << 20
"""A server's INFO is one line, with the addresses of the whole cluster in it."""


class QuickParser(Parser):
    """Splits what was read into whole messages; keeps the incomplete rest."""

    def __init__(self, client: "QuickClient") -> None:
        super().__init__(client)
        self._client = client

    def reset(self) -> None:
        """Forget what is incomplete: a new connection begins."""
        super().reset()
        self._rest = bytearray()
        self._needed = 0
        """How long the rest must be before it is worth looking at again."""

    async def parse(self, data: bytes = b"") -> None:
        """Dispatch every complete message and command.

        Raises:
            ProtocolError: The peer does not speak NATS; nats-py then reconnects.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
        self._needed = at = 0
        while (end := data.find(CRLF, at)) >= 0:
            line = data[at:end]
            if line[:4] == b"MSG " or line[:5] == b"HMSG ":
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
                reply = arguments[3] if len(arguments) == 5 + has_headers else b""
                at = stop + 2
                rest = self._client.dispatch(sid, arguments[1], reply, data[headers_end:stop], data[begin:headers_end])
                if rest is not None:
                    await rest
            else:
                at = end + 2
                self.buf = bytearray(line + CRLF)
                await super().parse()
        if end < 0 and len(data) - at > LONGEST_LINE:
            raise ProtocolError
        self._rest = bytearray(data[at:])
