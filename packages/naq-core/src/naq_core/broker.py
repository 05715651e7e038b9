"""What NAQ's other packages need of the wire. Not for applications: it may change with any release."""

from naq_core.errors import WrongSequenceError
from naq_core.storage.connection import Connection
from naq_core.storage.consumers import follow_new_consumers, has_jobs
from naq_core.storage.control import Reply as ControlReply
from naq_core.storage.control import Request as ControlRequest
from naq_core.storage.control import answer_requests
from naq_core.storage.deliveries import Delivery, Pull, consumer_state
from naq_core.storage.edges import edge_messages, waiting_headers
from naq_core.storage.events import record_headers
from naq_core.storage.lease import LeaseOwner, encode_lease, lease_at
from naq_core.storage.loops import LoopConnections
from naq_core.storage.messages import (
    Moved,
    due_of,
    if_newest,
    move,
    release,
    remove,
    remove_arguments,
    reschedule,
    schedule_headers,
    target_of,
)
from naq_core.storage.objects import RESULT as RESULT_OBJECT
from naq_core.storage.objects import get as get_object
from naq_core.storage.objects import put as put_object
from naq_core.storage.objects import remove as remove_object
from naq_core.storage.presence import is_worker_id
from naq_core.storage.presence import read_one as read_presence
from naq_core.storage.presence import remove as remove_presence
from naq_core.storage.queues import QueueSettings, follow_queue_settings
from naq_core.storage.records import (
    Stored,
    find_job,
    peek_record,
    queues_of,
    read_last,
    read_record,
    stored_of,
    the_queue,
    write_record,
)
from naq_core.storage.shared import close_shared, forget_shared, shared_connections
from naq_core.storage.slots import Holder, Slot, read_slots, write_slot
from naq_core.storage.subjects import (
    EXPECTED_SEQUENCE,
    EXPECTED_SUBJECT,
    FAR_FUTURE,
    LEVELS,
    NORMAL,
    SCHEDULE,
    SCHEDULE_TARGET,
    STATE,
    TTL,
    Names,
    is_place,
    state_of_subject,
    ttl_text,
)
from naq_core.storage.tally import finish_tallies
from naq_core.storage.topology import ensure_queue, ensure_queues, ensure_schedules, ensure_streams, ensure_tally, has_consumer
from naq_core.storage.unique import Place, find_place, hand_over_record
from naq_core.storage.unrun import end_waiting, record_end, unrun_record
from naq_core.storage.waiting import EndWatch, Gone
from naq_core.transport.batch import LIMIT as BATCH_LIMIT
from naq_core.transport.batch import batches, publish_batch
from naq_core.transport.buckets import Document, list_documents, read_document, write_document
from naq_core.transport.clock import MOST_SKEW, WARN_SECONDS, ServerClock, boottime
from naq_core.transport.direct import Entry
from naq_core.transport.errors import DisconnectedError, NotReadyError
from naq_core.transport.message import Message
from naq_core.transport.repeat import BrokerMessage
from naq_core.transport.walk import Walk
from naq_core.transport.watch import Change, Watch

__all__ = [
    "BATCH_LIMIT",
    "EXPECTED_SEQUENCE",
    "EXPECTED_SUBJECT",
    "FAR_FUTURE",
    "LEVELS",
    "MOST_SKEW",
    "NORMAL",
    "RESULT_OBJECT",
    "SCHEDULE",
    "SCHEDULE_TARGET",
    "STATE",
    "TTL",
    "WARN_SECONDS",
    "BrokerMessage",
    "Change",
    "Connection",
    "ControlReply",
    "ControlRequest",
    "Delivery",
    "DisconnectedError",
    "Document",
    "EndWatch",
    "Entry",
    "Gone",
    "Holder",
    "LeaseOwner",
    "LoopConnections",
    "Message",
    "Moved",
    "Names",
    "NotReadyError",
    "Place",
    "Pull",
    "QueueSettings",
    "ServerClock",
    "Slot",
    "Stored",
    "Walk",
    "Watch",
    "WrongSequenceError",
    "answer_requests",
    "batches",
    "boottime",
    "close_shared",
    "consumer_state",
    "due_of",
    "edge_messages",
    "encode_lease",
    "end_waiting",
    "ensure_queue",
    "ensure_queues",
    "ensure_schedules",
    "ensure_streams",
    "ensure_tally",
    "find_job",
    "find_place",
    "finish_tallies",
    "follow_new_consumers",
    "follow_queue_settings",
    "forget_shared",
    "get_object",
    "hand_over_record",
    "has_consumer",
    "has_jobs",
    "if_newest",
    "is_place",
    "is_worker_id",
    "lease_at",
    "list_documents",
    "move",
    "peek_record",
    "publish_batch",
    "put_object",
    "queues_of",
    "read_document",
    "read_last",
    "read_presence",
    "read_record",
    "read_slots",
    "record_end",
    "record_headers",
    "release",
    "remove",
    "remove_arguments",
    "remove_object",
    "remove_presence",
    "reschedule",
    "schedule_headers",
    "shared_connections",
    "state_of_subject",
    "stored_of",
    "target_of",
    "the_queue",
    "ttl_text",
    "unrun_record",
    "waiting_headers",
    "write_document",
    "write_record",
    "write_slot",
]
