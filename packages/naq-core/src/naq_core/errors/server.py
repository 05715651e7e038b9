"""What NATS refused or could not do."""

from naq_core.errors.base import NaqError


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
        """The stream sequence of the message that is there, 0 without one; None where the server did not say."""
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
