"""The core of NAQ: jobs, records, settings, errors, and the supervised connection to NATS JetStream."""

from naq_core._version import __version__
from naq_core.connection import Connection, ensure_stream, get_jetstream_context, get_nats_connection
from naq_core.context import JobContext, current_job
from naq_core.control import Cancel, Retry, Snooze
from naq_core.errors import (
    AttemptTimeoutError,
    BrokerError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConfigurationError,
    DecodeError,
    DuplicateJobError,
    EncodeError,
    EnqueueUnknownError,
    InvalidNameError,
    JetStreamDisabledError,
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    JobNotFoundError,
    JobTimeoutError,
    NaqError,
    PayloadTooLargeError,
    QueueFullError,
    SerializationError,
    ServerTooOldError,
    SignatureError,
    UnknownTaskError,
    WorkerNotFoundError,
)
from naq_core.job import Job
from naq_core.manage import CancelOutcome
from naq_core.record import AttemptError, JobRecord, JobState, Progress
from naq_core.retry import RetryPolicy
from naq_core.settings import Settings

__all__ = [
    "AttemptError",
    "AttemptTimeoutError",
    "BrokerError",
    "BrokerTimeoutError",
    "BrokerUnavailableError",
    "Cancel",
    "CancelOutcome",
    "ConfigurationError",
    "Connection",
    "DecodeError",
    "DuplicateJobError",
    "EncodeError",
    "EnqueueUnknownError",
    "InvalidNameError",
    "JetStreamDisabledError",
    "Job",
    "JobCancelledError",
    "JobContext",
    "JobError",
    "JobExpiredError",
    "JobFailedError",
    "JobNotFoundError",
    "JobRecord",
    "JobState",
    "JobTimeoutError",
    "NaqError",
    "PayloadTooLargeError",
    "Progress",
    "QueueFullError",
    "Retry",
    "RetryPolicy",
    "SerializationError",
    "ServerTooOldError",
    "Settings",
    "SignatureError",
    "Snooze",
    "UnknownTaskError",
    "WorkerNotFoundError",
    "__version__",
    "current_job",
    "ensure_stream",
    "get_jetstream_context",
    "get_nats_connection",
]
