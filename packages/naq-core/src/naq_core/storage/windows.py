"""Windows of time in which a unique key takes no second job, also after the first one has ended.

A window is a message beside the job's, stored in the same step, which the server removes when its time is over
(`docs/adr/0060-windows-of-unique-keys.md`). No consumer delivers its subject.
"""

import logging
from typing import NamedTuple

import msgspec

from naq_core.decoding import Decoder, complain
from naq_core.errors import UnreadableError
from naq_core.storage.connection import Connection
from naq_core.storage.subjects import Names
from naq_core.transport.headers import EXPECTED_SEQUENCE, TTL, ttl_text
from naq_core.transport.repeat import BrokerMessage
from naq_core.transport.streams import read_last

log = logging.getLogger(__name__)


class KeyWindow(msgspec.Struct, frozen=True, omit_defaults=True):
    """The window of a unique key."""

    run: str = ""
    """Of the job that began it, which was stored right before it."""
    until: float = 0.0
    """When it ends, in seconds since the epoch; for people: what counts is whether the server still has it."""


class FoundWindow(NamedTuple):
    """What is stored of a key's window."""

    sequence: int = 0
    """To compare-and-set against; 0 without one."""
    window: KeyWindow = KeyWindow()


NO_WINDOW = FoundWindow()
_encode = msgspec.json.Encoder().encode
_decoder = Decoder("the window of a unique key", KeyWindow)


def check_window(names: Names, subject: str, data: bytes) -> bool:
    """Return whether a subject is that of a window.

    Raises:
        UnreadableError: It is, and the window cannot be read.
    """
    if not subject.startswith(f"{names.jobs}.window."):
        return False
    _decoder.decode(data)
    return True


async def read_window(connection: Connection, queue: str, job_id: str) -> FoundWindow:
    """Read a window from the leader; one that cannot be read holds its key all the same."""
    names = connection.names
    message = await read_last(connection, names.jobs_stream, names.window(queue, job_id))
    if message is None:
        return NO_WINDOW
    try:
        return FoundWindow(message.sequence, _decoder.decode(message.data))
    except UnreadableError as error:
        complain(log, message.subject, error, "a window of an unknown job")
        return FoundWindow(message.sequence)


def window_message(
    connection: Connection, queue: str, job_id: str, window: KeyWindow, seconds: float, found: FoundWindow
) -> BrokerMessage:
    """Return the message that begins a window in the place of what was found."""
    headers = {EXPECTED_SEQUENCE: str(found.sequence), TTL: ttl_text(seconds)}
    return connection.names.window(queue, job_id), _encode(window), headers


async def remove_windows(connection: Connection, queue: str, job_id: str = "*") -> None:
    """Remove the window of a key, or those of a whole queue.

    Raises:
        BrokerError: They may not have been removed.
    """
    names = connection.names
    await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": names.window(queue, job_id)})
