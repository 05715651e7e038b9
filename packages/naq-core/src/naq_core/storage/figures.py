"""The stream of figures: one message for each source and stretch of time, replaced while the stretch lasts."""

from typing import NamedTuple

from naq_core.decoding import whole
from naq_core.storage.connection import Connection
from naq_core.storage.stream_configs import metrics_config
from naq_core.storage.topology import ensure_stream_config
from naq_core.transport.buckets import list_documents
from naq_core.transport.headers import TTL
from naq_core.transport.streams import stream_span

LATEST = 253_402_300_799
"""The end of the year 9999, in seconds since the epoch."""


class StoredFigures(NamedTuple):
    """A stored message of figures."""

    at: int
    """The stretch's begin, in seconds since the epoch."""
    source: str
    sequence: int
    data: bytes


async def ensure_metrics(connection: Connection) -> None:
    """Create the stream where it is missing.

    Raises:
        ConfigurationError, BrokerError: As `ensure_streams`.
    """
    await ensure_stream_config(connection, metrics_config(connection))


async def store_figures(connection: Connection, step: int, at: int, source: str, data: bytes, keep: int) -> None:
    """Store the figures of a stretch, in place of those stored for it before; to do it again is harmless.

    Args:
        step: The stretch's length, in seconds.
        keep: Seconds after which the server removes them.

    Raises:
        BrokerError: It is unknown whether they were stored.
    """
    await connection.publish_once(f"{connection.names.metrics}.{step}.{at}.{source}", data, {TTL: f"{keep}s"})


async def load_figures(connection: Connection, step: int, start: int = 1) -> list[StoredFigures]:
    """Return all figures of one step length that were stored at or after a stream sequence.

    Raises:
        BrokerTimeoutError, BrokerUnavailableError: The server did not answer in time.
    """
    names = connection.names
    if names.metrics_stream not in connection.ready and not (await stream_span(connection, names.metrics_stream)).messages:
        return []  # no figures have been written yet
    found = []
    for entry in await list_documents(connection, names.metrics_stream, f"{names.metrics}.{step}.*.*", start):
        at, source = entry.subject.split(".")[-2:]
        begin = whole(at, LATEST)
        if begin is not None:
            found.append(StoredFigures(begin, source, entry.sequence, entry.data))
    return found
