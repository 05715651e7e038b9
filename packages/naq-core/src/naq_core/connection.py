"""Connecting to NATS the way NAQ does it."""

from naq_core.storage.connection import Connection
from naq_core.transport.public import ensure_stream, get_jetstream_context, get_nats_connection

__all__ = ["Connection", "ensure_stream", "get_jetstream_context", "get_nats_connection"]
