"""The document that says which scheduler leads."""

import logging

import msgspec

from naq_core.decoding import Count, Decoder, Instant, complain
from naq_core.errors import UnreadableError

log = logging.getLogger(__name__)


class LeaseOwner(msgspec.Struct):
    """Who holds the lease."""

    owner: str
    host: str
    pid: Count
    renewal: Count
    """Distinguishes the writes of one owner, so that after a lost answer its own write can be recognised."""
    since: Instant = 0.0
    """When it became the leader, in the server's time; 0 where an older version does not say."""


_encoder = msgspec.json.Encoder()
_decoder = Decoder("the lease of the scheduler", LeaseOwner)


def encode_lease(owner: LeaseOwner) -> bytes:
    """Return the document as JSON."""
    return _encoder.encode(owner)


def decode_lease(data: bytes) -> LeaseOwner:
    """Read a lease.

    Raises:
        UnreadableError: It is not one.
    """
    return _decoder.decode(data)


def lease_at(data: bytes) -> LeaseOwner | None:
    """Return who holds a lease; one that cannot be read, or was given back, is free."""
    try:
        return decode_lease(data) if data else None
    except UnreadableError as error:
        complain(log, "the scheduler's lease", error, "free")
        return None
