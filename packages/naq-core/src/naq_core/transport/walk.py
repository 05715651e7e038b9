"""Going through a whole stream in small steps, oldest first, for as long as it takes: for sweeps."""

from naq_core.transport.direct import Entry, get_many
from naq_core.transport.jetstream import JetStream
from naq_core.transport.streams import stream_span

STEP = 1000
"""Sequences looked at with one round of direct gets, some 15 ms."""


class Walk:
    """A position in a stream that moves on from step to step, and restarts at the end.

    Direct gets of single sequences are used: a batched get makes the server count all that is still to come, at each step.
    """

    def __init__(self, connection: JetStream, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._next = 0

    async def step(self) -> tuple[list[Entry], bool]:
        """Return the messages of the next sequences, and whether that was the last step of the stream."""
        span = await stream_span(self._connection, self._stream)
        last = span.last
        start = max(self._next, span.first, 1)
        requests = [{"seq": sequence} for sequence in range(start, min(start + STEP, last + 1))]
        found = [entry for entry in await get_many(self._connection, self._stream, requests) if entry is not None]
        self._next = start + STEP
        if not found and self._next <= last:
            (ahead,) = await get_many(self._connection, self._stream, [{"seq": self._next, "next_by_subj": ">"}])
            self._next = last + 1 if ahead is None else ahead.sequence
        is_last = self._next > last
        if is_last:
            self._next = 0
        return found, is_last
