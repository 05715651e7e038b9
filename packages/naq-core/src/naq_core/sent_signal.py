"""A signal: what a person or another system sends to the jobs that wait for it (`docs/adr/0058-signals.md`).

A job waits for a signal as it waits for a parent: in `Envelope.after` the signal has an id that no job can have.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from naq_core.decoding import Decoder, Instant
from naq_core.envelope import Envelope
from naq_core.errors import EncodeError


class Signal(msgspec.Struct, frozen=True):
    """A signal that was sent."""

    name: str
    data: Any
    """What was sent with it: values of JSON; None where nothing was."""
    sender: str
    """Who has sent it, as the sender says; empty if unknown. The dashboard and `naq signal` give the name of the user."""
    sent_at: datetime


class SentSignal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal as stored."""

    at: Instant
    """When it was sent, seconds since the epoch."""
    data: Any = None
    by: str = ""
    """Who has sent it."""


_encoder = msgspec.json.Encoder()
_decoder = Decoder("the signal", SentSignal)


def encode_signal(signal: SentSignal) -> bytes:
    """Return a signal as it is stored.

    Raises:
        EncodeError: Its data are not values of JSON.
    """
    try:
        return _encoder.encode(signal)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise EncodeError(f"the data of a signal must be values of JSON: {error}") from error


def decode_signal(body: bytes) -> SentSignal:
    """Return a stored signal.

    Raises:
        UnreadableError: It is not one.
    """
    return _decoder.decode(body)


def read_signal(name: str, body: bytes) -> Signal:
    """Return a stored signal as a job sees it.

    Raises:
        UnreadableError: It is not one.
    """
    found = decode_signal(body)
    return Signal(name, found.data, found.by, datetime.fromtimestamp(found.at, UTC))


def reason_of_expiry(envelope: Envelope, *, waits: bool) -> str:
    """Return why a job has expired, where that is known: it has waited for a signal.

    Args:
        waits: It still waited for others.
    """
    if not waits or not envelope.signal:
        return ""
    or_others = ", or a job that it waits for, did not come" if envelope.parents else " was not sent"
    return f"signal {envelope.signal}{or_others} in time"
