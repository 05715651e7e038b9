"""Turns errors into what a person at a terminal needs: what failed, where the value came from, what to type next."""

import os
import sys
import traceback
from typing import NamedTuple

from naq_cli.exit_codes import ExitCode
from naq_core.errors import (
    AmbiguousJobError,
    AuthenticationError,
    BrokerError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConfigurationError,
    DuplicateJobError,
    EnqueueSkippedError,
    EnqueueUnknownError,
    InvalidNameError,
    InvalidScheduleError,
    JetStreamDisabledError,
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    JobNotFoundError,
    JobStateError,
    JobTimeoutError,
    NaqError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QueueFullError,
    QueueInUseError,
    QueueNotFoundError,
    ScheduleNotFoundError,
    SerializationError,
    ServerTooOldError,
    TlsNotOfferedError,
    UnknownTaskError,
    WorkerNotFoundError,
    WorkflowNotFoundError,
    WrongSequenceError,
)
from naq_core.layers import origin_of
from naq_core.settings import Settings
from naq_core.standard_streams import output_failure


class CommandError(Exception):
    """A command's own refusal, with its exit code."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        self.code = code
        super().__init__(message)


class Complaint(NamedTuple):
    """What to say and how to exit."""

    message: str
    code: ExitCode


_CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ExitCode], ...] = (
    ((BrokerUnavailableError, JetStreamDisabledError, ServerTooOldError), ExitCode.UNREACHABLE),
    ((BrokerTimeoutError, EnqueueUnknownError), ExitCode.TIMED_OUT),
    (
        (
            DuplicateJobError,
            EnqueueSkippedError,
            JobStateError,
            WrongSequenceError,
            QueueFullError,
            QueueInUseError,
            PermissionDeniedError,
        ),
        ExitCode.REFUSED,
    ),
    ((JobFailedError, JobCancelledError, JobExpiredError), ExitCode.FAILED),
    (UnknownTaskError, ExitCode.IMPORT_FAILED),
    ((AmbiguousJobError, InvalidNameError, InvalidScheduleError), ExitCode.USAGE),
    ((SerializationError, PayloadTooLargeError), ExitCode.USAGE),
    (LookupError, ExitCode.NOT_FOUND),
)
"""The first that fits counts."""


_NOT_FOUND: dict[type[Exception], str] = {
    JobNotFoundError: "{}. See: naq job list",
    QueueNotFoundError: "{}. See: naq queue list",
    ScheduleNotFoundError: "there is no schedule {0.schedule_id}. See: naq schedule list",
    WorkflowNotFoundError: "{}. See: naq workflow list",
    WorkerNotFoundError: "{}. See: naq workers",
}


def explain(error: BaseException, settings: Settings | None) -> Complaint:
    """Return the message, without the command's name, and the exit code for an error that NAQ raises on purpose."""
    if isinstance(error, CommandError):
        return Complaint(str(error), error.code)
    if isinstance(error, ConfigurationError):
        return _setting(error)
    if isinstance(error, JobTimeoutError):
        return Complaint(f"{error}: naq job wait {error.job_id}", ExitCode.WAIT_TIMED_OUT)
    if isinstance(error, BrokerUnavailableError) and settings is not None:
        return Complaint(_unreachable(error, settings), ExitCode.UNREACHABLE)
    if isinstance(error, BrokerTimeoutError) and settings is not None:
        return Complaint(f"{error}. The server is {_server(settings)}; naq doctor checks it.", ExitCode.TIMED_OUT)
    for kind, words in _NOT_FOUND.items():
        if isinstance(error, kind):
            return Complaint(words.format(error), ExitCode.NOT_FOUND)
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return Complaint(str(error), code)
    return Complaint(str(error), ExitCode.FAILED)


def report(command: str, error: BaseException, settings: Settings | None) -> ExitCode:
    """Write an error to standard error and return the exit code; anything unforeseen is named as the bug it is."""
    if output_failure() is not None:  # what comes of it is no news; run_process says what it was
        return ExitCode.FAILED
    if is_debugging():
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, Exception) and (where := origin_of(error)) and not isinstance(error, NaqError):
        sys.stderr.write(f"naq {command}: {type(error).__name__}: {' '.join(str(error).split())} ({where})\n")
        return ExitCode.FAILED
    if isinstance(error, CommandError | NaqError | BrokerError):
        message, code = explain(error, settings)
        sys.stderr.write(f"naq {command}: {' '.join(message.split())}\n")
        return code
    sys.stderr.write(
        f"naq {command}: unexpected {type(error).__name__}: {error}. This is a bug in NAQ or a package it uses;"
        " NAQ_LOG_LEVEL=DEBUG shows the traceback.\n"
    )
    return ExitCode.FAILED


def is_debugging() -> bool:
    """Tell whether NAQ_LOG_LEVEL=DEBUG asks for tracebacks."""
    return os.environ.get("NAQ_LOG_LEVEL", "").upper() == "DEBUG"


_OPTIONS = {"nats_context": "--context"}


def origin(settings: Settings, name: str) -> str:
    """Say where a setting's value comes from."""
    source = settings.source(name)
    named = {"default": f"the default of NAQ_{name.upper()}", "argument": f"from {_option(name)}"}
    return named.get(source, f"from {source}")


def _option(setting: str) -> str:
    return _OPTIONS.get(setting, f"--{setting.replace('_', '-')}")


def _server(settings: Settings) -> str:
    return f"{settings.redacted_url()} ({origin(settings, 'nats_url')})"


def _unreachable(error: BrokerUnavailableError, settings: Settings) -> str:
    reason = error.reason.rstrip(".")
    if isinstance(error, AuthenticationError):
        advice = "Check NAQ_NATS_USER, NAQ_NATS_PASSWORD, NAQ_NATS_TOKEN, NAQ_NATS_CREDS or NAQ_NATS_CONTEXT: naq config show"
    elif isinstance(error, TlsNotOfferedError):
        advice = "Let the server use TLS, or use nats:// without NAQ_NATS_TLS_… for a plain-text connection: naq config show"
    else:
        advice = "Start one: naq server, or docker run -p 4222:4222 nats -js"
    return f"cannot reach NATS at {_server(settings)}: {reason}. {advice}"


def _setting(error: ConfigurationError) -> Complaint:
    if error.setting.startswith("stream "):  # no setting of the user's: it is what stands on the server
        return Complaint(f"{error}. See: naq doctor, naq setup --update", ExitCode.REFUSED)
    named = f"{_option(error.setting)}: {error.problem}" if error.source == "argument" else str(error)
    return Complaint(named, ExitCode.USAGE)
