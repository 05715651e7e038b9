"""Reading NATS's wire protocol: messages without regular expressions and copies, everything else by nats-py's parser.

nats-py's own parser and its queue and task per subscription took a third of a worker's time (`docs/adr/0025-quick-client.md`).
"""

from typing import TYPE_CHECKING

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

if TYPE_CHECKING:
    from naq_core.transport.client import QuickClient

CRLF = b"\r\n"
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
        self._needed = 0
        at = 0
        while True:
            end = data.find(CRLF, at)
            if end < 0:
                if len(data) - at > LONGEST_LINE:
                    raise ProtocolError
                break
            line = data[at:end]
            if line[:4] == b"MSG " or line[:5] == b"HMSG ":
                begin = end + 2
                headers_end, stop = _sizes(line, begin)
                if len(data) < stop + 2:
                    self._needed = stop + 2 - at
                    break
                arguments = line.split(b" ")
                has_headers = headers_end > begin
                reply = arguments[3] if len(arguments) == 5 + has_headers else b""
                at = stop + 2
                headers = data[begin:headers_end] if has_headers else b""
                await self._client.dispatch(int(arguments[2]), arguments[1], reply, data[headers_end:stop], headers)
            else:
                at = end + 2
                self.buf = bytearray(line + CRLF)
                await super().parse()
        self._rest = bytearray(data[at:])


def _sizes(line: bytes, begin: int) -> tuple[int, int]:
    """Return where headers and the whole of a message end."""
    try:
        if line[0] == 72:  # HMSG subject sid [reply] header-size total-size
            _, headers, total = line.rsplit(b" ", 2)
            return begin + int(headers), begin + int(total)
        return begin, begin + int(line[line.rindex(b" ") + 1 :])
    except ValueError:
        raise ProtocolError from None
