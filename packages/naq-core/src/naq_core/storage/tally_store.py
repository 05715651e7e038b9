"""Reading the counters that `tally` adds to."""

from typing import NamedTuple

import msgspec

from naq_core.decoding import Decoder, whole
from naq_core.errors import UnreadableError
from naq_core.storage.connection import Connection
from naq_core.storage.subjects import text_of
from naq_core.transport.many import read_all
from naq_core.transport.streams import stream_span


class Counter(NamedTuple):
    """What a counter counts."""

    queue: str
    function: str
    kind: str


class _Value(msgspec.Struct):
    val: str


_decoder = Decoder("the counter", _Value)


class TallyReader:
    """Reads counters, and after the first time only those that have changed. Used from one event loop.

    Args:
        queue: Only of this queue; by default of all.
        kind: Only of this kind; by default all.
    """

    def __init__(self, queue: str = "*", kind: str = "*") -> None:
        self._wanted = (queue, "*", kind)
        self._next = 1
        self._created = ""
        self.values: dict[Counter, int] = {}

    async def refresh(self, connection: Connection) -> None:
        """Read what has changed since the last time.

        Raises:
            BrokerTimeoutError, BrokerUnavailableError: The server did not answer in time.
        """
        names = connection.names
        span = await stream_span(connection, names.tally_stream)
        if span.created != self._created:  # the first time, or the stream was deleted and created again
            self.values, self._next, self._created = {}, 1, span.created
        if self._next > span.last:
            return  # nothing has been counted since
        for message in await read_all(connection, names.tally_stream, names.tally(*self._wanted), self._next):
            self._next = message.sequence + 1
            queue, function, kind = message.subject.split(".")[-3:]
            try:
                value = whole(_decoder.decode(message.data).val)
            except UnreadableError:
                continue  # the server counts, so it is of another program
            if value is not None:
                self.values[Counter(queue, text_of(function), kind)] = value
