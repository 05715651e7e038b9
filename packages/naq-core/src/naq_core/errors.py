"""Every error NAQ raises.

NaqError
├─ ConfigurationError (ValueError)      a setting is wrong; names the setting and its source
│  └─ InvalidOptionError (TypeError)    an option or argument does not exist or has a wrong value; settings are not meant
├─ InvalidCallError (TypeError)         the arguments do not fit the function's signature
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
└─ JobError (job_id)
   ├─ JobNotFoundError (LookupError) · DuplicateJobError
   ├─ JobStateError                          the job's state does not permit this
   │  └─ TransitionError                     a move that the table of moves does not have
   ├─ AmbiguousJobError (ValueError)         an id that several queues use; names them
   ├─ AttemptTimeoutError (TimeoutError)     one attempt was stopped
   └─ JobFailedError · JobCancelledError · JobExpiredError · JobTimeoutError (TimeoutError)   raised by `Job.result()`
"""

from collections.abc import Mapping, Sequence

from naq_core.wording import counted

LONGEST_SHOWN = 200


def shown(value: object) -> str:
    """Return a value as a message shows it, at most 200 characters; a number of 5,000 digits cannot even be printed."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever a `__repr__` raises
        return f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


class NaqError(Exception):
    """The base of every error that NAQ raises on purpose. All can be copied and pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by value: an exception is made again with its message alone, which is not what these constructors take."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[NaqError], args: tuple[object, ...], attributes: dict[str, object]) -> NaqError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class EventLoopError(NaqError, RuntimeError):
    """A connection was used on another event loop than the one it was opened on; nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            "this connection belongs to another event loop: open one on this loop, or use a Queue, which opens one for each loop"
        )


class ConfigurationError(NaqError, ValueError):
    """A setting has a value that NAQ cannot work with."""

    def __init__(self, setting: str, problem: str, source: str | None = None) -> None:
        self.setting = setting
        self.problem = problem
        self.source = source
        origin = f" (from {source})" if source else ""
        super().__init__(f"{setting}{origin}: {problem}")


class InvalidOptionError(ConfigurationError, TypeError):
    """An option or argument that does not exist, has a wrong value, or contradicts another one; nothing was done.

    It is a `ConfigurationError` because that is what these mistakes raised before; a setting raises `ConfigurationError` alone.
    """


class InvalidCallError(NaqError, TypeError):
    """The arguments of a job do not fit the signature of its function; nothing was enqueued."""

    def __init__(self, call: str, problem: str) -> None:
        self.call = call
        self.problem = problem
        super().__init__(f"the arguments do not fit {call}: {problem}")


class InvalidNameError(NaqError, ValueError):
    """A name that cannot be used as a token of a NATS subject."""

    def __init__(self, kind: str, value: object, rule: str) -> None:
        self.kind = kind
        self.value = value
        super().__init__(f"{shown(value)} is not a valid {kind}: {rule}")


class BrokerError(NaqError):
    """NATS refused or could not do what was asked."""


class BrokerUnavailableError(BrokerError):
    """No NATS server can be reached, or the connection was closed for good."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"cannot reach NATS at {url}: {reason}. Is a nats-server running there? `naq server` starts one.")


class ConnectionClosedError(BrokerUnavailableError):
    """The program itself has closed the connection, such as with the queue that opened it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reason = "the program has closed the connection"
        BrokerError.__init__(
            self,
            f"the connection to NATS at {url} is closed (by `close()`, `disconnect()` or the end of an `async with` block): use "
            "queues and job handles before that. `Job.fetch_result` and `Job.fetch_record` open a connection of their own",
        )


class AuthenticationError(BrokerUnavailableError):
    """The server refuses the credentials, or asks for some where none were given."""

    def __init__(self, url: str, given: str) -> None:
        self.url = url
        self.given = given
        self.reason = (
            f"the server rejected the credentials ({given})" if given else "the server requires credentials, but none were given"
        )
        BrokerError.__init__(
            self,
            f"cannot connect to NATS at {url}: {self.reason}. Set NAQ_NATS_CREDS, NAQ_NATS_NKEY, NAQ_NATS_USER and "
            "NAQ_NATS_PASSWORD_FILE, or NAQ_NATS_TOKEN_FILE",
        )


class TlsNotOfferedError(BrokerUnavailableError):
    """TLS was asked for, and the server does not offer it; nothing was sent to it, no credentials above all."""

    def __init__(self, url: str, asking: str) -> None:
        self.url = url
        self.asking = asking
        self.reason = f"the server does not offer TLS, which is required ({asking}); nothing was sent"
        BrokerError.__init__(
            self,
            f"cannot connect to NATS at {url}: {self.reason}. Enable TLS on the server; for a plain-text connection, "
            "use nats:// and unset NAQ_NATS_TLS_CA, NAQ_NATS_TLS_CERT and NAQ_NATS_TLS_KEY",
        )


class PermissionDeniedError(BrokerError, PermissionError):
    """The server does not permit this user to publish or subscribe to a subject."""

    def __init__(self, verb: str, subject: str) -> None:
        self.verb = verb
        self.subject = subject
        super().__init__(f"this user may not {verb} {subject}: docs/security.md lists what each role needs")


class BrokerTimeoutError(BrokerError, TimeoutError):
    """The server did not answer in time; what was asked may or may not have happened."""

    def __init__(self, what: str, seconds: float) -> None:
        self.what = what
        self.seconds = seconds
        super().__init__(f"{what}: no answer from NATS within {seconds:g} s")


class JetStreamDisabledError(BrokerError):
    """The server answers, but JetStream is off for this account, or its domain is out of reach."""

    def __init__(self, url: str, domain: str | None = None) -> None:
        self.url = url
        self.domain = domain
        super().__init__(
            f"JetStream is not enabled on the server at {url}: start nats-server with -js"
            if domain is None
            else f"no JetStream of the domain {domain} (jetstream_domain) answers through the server at {url}: check the name in"
            " the configuration of that JetStream, and the connection of the leaf node to it"
        )


class ServerTooOldError(BrokerError):
    """The server's JetStream lacks message schedules, atomic batches or message TTLs."""

    def __init__(self, found: str, level: int, needed: int) -> None:
        self.found = found
        self.level = level
        super().__init__(
            f"nats-server {found} has JetStream API level {level}, NAQ needs level {needed} (nats-server 2.12 or newer, "
            "2.15 recommended): upgrade the server"
        )


class JetStreamError(BrokerError):
    """JetStream answered with an error that has no class of its own."""

    def __init__(self, what: str, code: int, err_code: int, description: str) -> None:
        self.code = code
        self.err_code = err_code
        self.description = description
        super().__init__(f"{what}: {description} (code {code}, error {err_code})")


class WrongSequenceError(JetStreamError):
    """A compare-and-set lost: somebody else wrote the subject first."""

    @property
    def last(self) -> int | None:
        """The stream sequence of the message that is there, 0 where there is none; None where the server did not say."""
        number = self.description.rpartition(": ")[2]
        return int(number) if number.isdecimal() else None


class QueueFullError(JetStreamError):
    """The stream or the disk has reached a limit; nothing was stored."""

    def __init__(self, what: str, code: int, err_code: int, description: str) -> None:
        super().__init__(what, code, err_code, description)
        advice = (
            "The stream, or the storage of JetStream on the server or for this account, is full: nothing was stored. "
            "`naq doctor` shows how full. To make room: `naq job delete state:succeeded --yes` deletes ended jobs, "
            "`naq queue purge QUEUE --yes` waiting ones; or raise the limit (max_file_store, the account's max_file, max_bytes)"
        )
        self.args = (f"{self}. {advice}",)


class MissingError(BrokerError):
    """A stream, bucket or consumer of NAQ's is missing on the server and cannot be created; nothing was stored."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(
            f"{name} is missing on the server and cannot be created ({reason}): an administrator must run `naq setup`"
        )


class ConsumerLimitError(JetStreamError):
    """The server allows no more consumers: each level of a queue that is in use takes one."""

    def __init__(self, what: str, code: int, err_code: int, description: str) -> None:
        advice = (
            "each priority of a queue that is in use takes one consumer: raise max_consumers of the stream or of the account, "
            "or use fewer queues"
        )
        super().__init__(what, code, err_code, f"{description}; {advice}")


class PayloadTooLargeError(BrokerError, ValueError):
    """A message larger than the server's `max_payload`; refused before anything was sent."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            f"{what} takes {size:,} bytes, the server accepts {limit:,} in one message: pass a reference (a path, a key, a "
            "URL) instead of the data, or raise max_payload in the server's configuration"
        )


class EnqueueUnknownError(BrokerError):
    """The job may or may not have been stored; enqueueing it again with the same id is safe."""

    def __init__(self, job_ids: list[str], reason: str) -> None:
        self.job_ids = job_ids
        names = ", ".join(job_ids[:3]) + (f" and {len(job_ids) - 3} more" if len(job_ids) > 3 else "")
        super().__init__(f"it is unknown whether {names} was stored ({reason}): enqueue again with the same job_id")


class EnqueueSkippedError(NaqError):
    """Middleware has left out an enqueue, or has caught its error: the jobs are not stored."""

    def __init__(self, job_ids: list[str]) -> None:
        self.job_ids = job_ids
        names = ", ".join(job_ids[:3]) + (f" and {len(job_ids) - 3} more" if len(job_ids) > 3 else "")
        super().__init__(f"{names} not stored: middleware returned without its yield, or caught the error of the enqueue")


class SerializationError(NaqError):
    """Something could not be turned into bytes or back."""


class EncodeError(SerializationError):
    """The function, its arguments or its result cannot be serialized."""


class DecodeError(SerializationError):
    """Bytes that are not what they should be."""


class UnreadableError(DecodeError):
    """A document on the server that is not what it should be: another program wrote it, or it was damaged."""

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{what} cannot be read: {reason}")


class SignatureError(DecodeError):
    """A job, result, schedule, or request to a worker, without the signature that a process with NAQ_SIGNING_KEY asks for.

    It was neither decoded nor acted upon.
    """


class LargePayloadError(DecodeError):
    """Arguments or a result in the object store that are gone, or are not what was stored."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"the large payload {name} {reason}")


class UnknownWireVersionError(DecodeError):
    """A message of a newer NAQ than this one."""

    def __init__(self, version: object) -> None:
        self.version = version
        super().__init__(f"this version of NAQ does not know wire version {version!r}: upgrade the worker")


class QueueNotFoundError(NaqError, LookupError):
    """Nothing was ever enqueued to a queue of that name, and no worker has taken jobs from it."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        super().__init__(f"there is no queue {queue!r}: nothing was enqueued to it and no worker serves it")


class QueueInUseError(NaqError):
    """The queue has jobs or workers, so it was not deleted.

    Attributes:
        queue: Its name.
        jobs: How many jobs it has in each state that has any: waiting, running, held, dead, cancelled.
        workers: How many workers take jobs from it.
    """

    def __init__(self, queue: str, jobs: Mapping[str, int], workers: int = 0) -> None:
        self.queue = queue
        self.jobs = {state: count for state, count in jobs.items() if count}
        self.workers = workers
        found = [counted(count, f"{state} job") for state, count in self.jobs.items()]
        if workers:
            found.append(counted(workers, "worker"))
        super().__init__(f"queue {queue!r} has {', '.join(found)}: only an empty queue without workers can be deleted")


class UnknownTaskError(NaqError, LookupError):
    """The function named by a job cannot be found, or may not be run here."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"function {name!r}: {reason}")


class WorkerNotFoundError(NaqError, LookupError):
    """No worker of that id answers, or it cannot do what was asked any more."""

    def __init__(self, worker_id: str, state: str | None) -> None:
        self.worker_id = worker_id
        problem = "no running worker with this id" if state is None else f"it is {state} and refuses"
        super().__init__(f"worker {worker_id}: {problem} (`naq workers` lists the running ones)")


class WorkflowError(NaqError, ValueError):
    """Jobs that cannot be put together as asked; nothing was sent."""


class WorkflowNotFoundError(WorkflowError, LookupError):
    """No workflow of that id is known (any more)."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        super().__init__(f"workflow {workflow_id}: no such workflow; it never existed or has expired")


class ScheduleError(NaqError):
    """Something about one recurring schedule."""

    def __init__(self, schedule_id: str, message: str) -> None:
        self.schedule_id = schedule_id
        super().__init__(f"schedule {schedule_id}: {message}" if schedule_id else message)


class ScheduleNotFoundError(ScheduleError, LookupError):
    """No schedule has this id."""

    def __init__(self, schedule_id: str) -> None:
        super().__init__(schedule_id, "no such schedule; `list_schedules` lists all")


class InvalidScheduleError(ScheduleError, ValueError):
    """A schedule that cannot be: names the value and what is allowed."""

    def __init__(self, what: str, value: object, problem: str) -> None:
        self.what = what
        self.value = value
        self.problem = problem
        super().__init__("", f"{what}: {problem}" if problem.startswith(shown(value)) else f"{what} {shown(value)}: {problem}")


class JobError(NaqError):
    """Something about one job."""

    def __init__(self, job_id: str, message: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id}: {message}")


class JobNotFoundError(JobError, LookupError):
    """Neither a job nor a record of that id exists (any more).

    Attributes:
        elsewhere: Other queues that have a job of this id, where one queue alone was asked.
    """

    def __init__(self, job_id: str, queue: str = "*", elsewhere: Sequence[str] = ()) -> None:
        self.elsewhere = tuple(elsewhere)
        where = "no such job" if queue == "*" else f"no such job in queue {queue!r}"
        if elsewhere:
            super().__init__(job_id, f"{where}; there is one in queue {' and '.join(map(repr, elsewhere))}")
        else:
            super().__init__(job_id, f"{where}; it never existed, was deleted, or its record has expired")


class AmbiguousJobError(JobError, ValueError):
    """An id was given alone, and jobs of several queues have it; nothing was done.

    Attributes:
        queues: The queues, in the order of their names.
    """

    def __init__(self, job_id: str, queues: Sequence[str]) -> None:
        self.queues = tuple(queues)
        names = ", ".join(map(repr, queues))
        super().__init__(job_id, f"the queues {names} have a job with this id: specify one, as in {job_id}@{queues[0]}")


class DuplicateJobError(JobError):
    """A live job with this id exists."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "a live job with this id exists; nothing was enqueued")


class JobStateError(JobError):
    """The job is in a state in which this cannot be done with it; nothing was changed."""

    def __init__(self, job_id: str, state: str, problem: str) -> None:
        self.state = str(state)
        self.problem = problem
        super().__init__(job_id, f"is {self.state}; nothing was changed: {problem}")


class TransitionError(JobStateError):
    """A move that `naq_core.transitions.MOVES` does not list."""

    def __init__(self, job_id: str, state: str, wanted: str) -> None:
        super().__init__(job_id, state, f"a job in this state cannot become {wanted}")


class JobFailedError(JobError):
    """The job failed for good; carries what its last attempt raised, as text.

    The traceback in the worker is a note too (`__notes__`), so that a program that does not catch this error prints it.
    """

    def __init__(self, job_id: str, error_type: str, error_message: str, error_traceback: str = "") -> None:
        self.error_type = error_type
        self.error_message = error_message
        self.error_traceback = error_traceback
        super().__init__(job_id, f"failed with {error_type}: {error_message}")
        if error_traceback:
            self.add_note(f"\nIn the worker:\n{error_traceback.rstrip()}")


class JobCancelledError(JobError):
    """The job was cancelled."""

    def __init__(self, job_id: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(job_id, f"was cancelled{f': {reason}' if reason else ''}")


class JobExpiredError(JobError):
    """The job was not started before its expiry."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "expired before it was started")


class AttemptTimeoutError(JobError, TimeoutError):
    """An attempt took longer than the job's `timeout` and was stopped; this is what its record says."""

    def __init__(self, job_id: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(job_id, f"the attempt exceeded its timeout of {seconds:g} s")


class JobTimeoutError(JobError, TimeoutError):
    """The job had not ended when the caller's patience did; it goes on regardless."""

    def __init__(self, job_id: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(job_id, f"has not ended within {seconds:g} s (it continues)")
