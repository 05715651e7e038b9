"""What NAQ's other packages need of the wire. Not for applications: it may change with any release."""

from naq_core._nats.batch import LIMIT as BATCH_LIMIT
from naq_core._nats.batch import publish_batch
from naq_core._nats.connection import Connection
from naq_core._nats.errors import DisconnectedError, NotReadyError
from naq_core._nats.presence import read_one as read_presence
from naq_core._nats.presence import remove as remove_presence
from naq_core._nats.pull import Delivery, Pull, consumer_state
from naq_core._nats.records import Stored, read_record
from naq_core._nats.subjects import (
    EXPECTED_SEQUENCE,
    EXPECTED_SUBJECT,
    FAR_FUTURE,
    SCHEDULE,
    SCHEDULE_TARGET,
    STATE,
    TTL,
    Names,
)
from naq_core._nats.topology import ensure_queue, ensure_streams
from naq_core.errors import WrongSequenceError

__all__ = [
    "BATCH_LIMIT",
    "EXPECTED_SEQUENCE",
    "EXPECTED_SUBJECT",
    "FAR_FUTURE",
    "SCHEDULE",
    "SCHEDULE_TARGET",
    "STATE",
    "TTL",
    "Connection",
    "Delivery",
    "DisconnectedError",
    "Names",
    "NotReadyError",
    "Pull",
    "Stored",
    "WrongSequenceError",
    "consumer_state",
    "ensure_queue",
    "ensure_streams",
    "publish_batch",
    "read_presence",
    "read_record",
    "remove_presence",
]
