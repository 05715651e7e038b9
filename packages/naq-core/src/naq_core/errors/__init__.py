"""Every error NAQ raises.

NaqError
├─ ConfigurationError (ValueError)      a setting is wrong; names the setting and its source
│  └─ InvalidOptionError (TypeError)    an option or argument does not exist or has a wrong value; settings are not meant
├─ InvalidCallError (TypeError)         the arguments do not fit the function's signature
├─ HookError                            a hook of the program has failed, so that a worker or scheduler ends
├─ ResourceError                        a resource cannot be opened as it was declared, or is used where none is opened
├─ InvalidNameError (ValueError)        a queue name, job id or namespace that cannot be a subject token
├─ BrokerError
│  ├─ BrokerUnavailableError            no server answers at the address
│  │  ├─ ConnectionClosedError          the program itself has closed the connection
│  │  ├─ AuthenticationError            it answers, and refuses the credentials
│  │  └─ TlsNotOfferedError             it answers in plain text, although TLS is asked for
│  ├─ PermissionDeniedError (PermissionError) the credentials do not permit it
│  ├─ BrokerTimeoutError (TimeoutError) the server did not answer in time
│  ├─ JetStreamDisabledError            the server runs without JetStream
│  ├─ ServerTooOldError                 the server lacks what NAQ needs
│  ├─ JetStreamError                    any other refusal, with its code
│  │  ├─ WrongSequenceError             a compare-and-set lost (JetStream error 10071)
│  │  └─ QueueFullError                 a limit of the stream or the disk is reached
│  ├─ PayloadTooLargeError (ValueError) more bytes than the server accepts in one message
│  └─ EnqueueUnknownError               the outcome of an enqueue is unknown; repeat it with the same id
├─ SerializationError
│  ├─ EncodeError · DecodeError · UnknownWireVersionError · SignatureError · LargePayloadError
├─ QueueNotFoundError (LookupError)     nothing was ever enqueued to a queue of that name
├─ QueueInUseError                      a queue that has jobs or workers, and is to be deleted
├─ WorkflowError (ValueError)           jobs that cannot be put together: a cycle, a job that is there twice
│  └─ WorkflowNotFoundError (LookupError)  no workflow of that id (any more)
├─ UnknownTaskError (LookupError)       a function the worker may not or cannot run
├─ WorkerNotFoundError (LookupError)    no worker answers to that id
├─ ScheduleError (schedule_id)
│  ├─ ScheduleNotFoundError (LookupError)
│  └─ InvalidScheduleError (ValueError)   a cron expression, time zone, policy … that cannot be
├─ WebhookError                              a webhook was not accepted; it may be later
│  └─ WebhookRefusedError                   and will not be: another try would change nothing
└─ JobError (job_id)
   ├─ JobNotFoundError (LookupError) · DuplicateJobError
   ├─ JobStateError                          the job's state does not permit this
   │  └─ TransitionError                     a move that the table of moves does not have
   ├─ AmbiguousJobError (ValueError)         an id that several queues use; names them
   ├─ AttemptTimeoutError (TimeoutError)     one attempt was stopped
   └─ JobFailedError · JobCancelledError · JobExpiredError · JobTimeoutError (TimeoutError)   raised by `Job.result()`
"""

from naq_core.errors.base import (
    ConfigurationError,
    EventLoopError,
    HookError,
    InvalidCallError,
    InvalidNameError,
    InvalidOptionError,
    NaqError,
    ResourceError,
    shown,
)
from naq_core.errors.jobs import (
    AmbiguousJobError,
    AttemptTimeoutError,
    BatchResultError,
    DuplicateJobError,
    EnqueueSkippedError,
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    JobNotFoundError,
    JobStateError,
    JobTimeoutError,
    TransitionError,
)
from naq_core.errors.resources import (
    InvalidScheduleError,
    QueueInUseError,
    QueueNotFoundError,
    ScheduleError,
    ScheduleNotFoundError,
    UnknownTaskError,
    WorkerNotFoundError,
    WorkflowError,
    WorkflowNotFoundError,
)
from naq_core.errors.serialization import (
    DecodeError,
    EncodeError,
    LargePayloadError,
    SerializationError,
    SignatureError,
    UnknownWireVersionError,
    UnreadableError,
)
from naq_core.errors.server import (
    AuthenticationError,
    BrokerError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConnectionClosedError,
    ConsumerLimitError,
    EnqueueUnknownError,
    JetStreamDisabledError,
    JetStreamError,
    MissingError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QueueFullError,
    ServerTooOldError,
    TlsNotOfferedError,
    WrongSequenceError,
)
from naq_core.errors.webhooks import WebhookError, WebhookRefusedError

__all__ = [
    "AmbiguousJobError",
    "AttemptTimeoutError",
    "AuthenticationError",
    "BatchResultError",
    "BrokerError",
    "BrokerTimeoutError",
    "BrokerUnavailableError",
    "ConfigurationError",
    "ConnectionClosedError",
    "ConsumerLimitError",
    "DecodeError",
    "DuplicateJobError",
    "EncodeError",
    "EnqueueSkippedError",
    "EnqueueUnknownError",
    "EventLoopError",
    "HookError",
    "InvalidCallError",
    "InvalidNameError",
    "InvalidOptionError",
    "InvalidScheduleError",
    "JetStreamDisabledError",
    "JetStreamError",
    "JobCancelledError",
    "JobError",
    "JobExpiredError",
    "JobFailedError",
    "JobNotFoundError",
    "JobStateError",
    "JobTimeoutError",
    "LargePayloadError",
    "MissingError",
    "NaqError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "QueueFullError",
    "QueueInUseError",
    "QueueNotFoundError",
    "ResourceError",
    "ScheduleError",
    "ScheduleNotFoundError",
    "SerializationError",
    "ServerTooOldError",
    "SignatureError",
    "TlsNotOfferedError",
    "TransitionError",
    "UnknownTaskError",
    "UnknownWireVersionError",
    "UnreadableError",
    "WebhookError",
    "WebhookRefusedError",
    "WorkerNotFoundError",
    "WorkflowError",
    "WorkflowNotFoundError",
    "WrongSequenceError",
    "shown",
]

for _each in tuple(vars().values()):
    if isinstance(_each, type):
        _each.__module__ = __name__  # records, pickles and `retry_on` name an error by this module
