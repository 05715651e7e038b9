"""JetStream's and nats-py's errors as NAQ's: the one place of translation."""

from typing import Any

import msgspec
import nats.errors

from naq_core.errors import BrokerError, ConsumerLimitError, JetStreamError, QueueFullError, WrongSequenceError

NO_MESSAGE = 10037
WRONG_SEQUENCE = 10071
FULL = frozenset({10023, 10077, 10047, 10122})
CONSUMER_LIMIT = 10026
RETRYABLE = frozenset({10008, 10012, 10167, 10074, 10176, 10164, 10158})
"""Temporarily unavailable, no leader yet, too many requests, an atomic batch whose beginning the server has dropped (as too many
were under way), another write of the subject or with the message id that is still under way: nothing was stored, and the same
request may succeed a moment later."""


class ApiError(msgspec.Struct, frozen=True):
    """The `error` object of a JetStream answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class PubAck(msgspec.Struct, frozen=True):
    """JetStream's answer to a publish."""

    seq: int = 0
    error: ApiError | None = None


class NotReadyError(BrokerError):
    """JetStream does not answer right now (leader election, restart): try again."""


class NobodyThereError(NotReadyError):
    """No stream takes this subject: nothing was stored. The stream was deleted, has no leader, or JetStream is off."""


class DisconnectedError(BrokerError):
    """The connection was lost while an answer was due: the outcome is unknown."""


CLIENT_ERRORS = (nats.errors.Error, OSError)
"""What a call of the client may raise while the connection is lost or being made again."""

decode_ack = msgspec.json.Decoder(PubAck).decode


def api_error(what: str, error: ApiError | dict[str, Any]) -> BrokerError:
    """Return the exception for a JetStream error."""
    if isinstance(error, dict):
        error = ApiError(error.get("code", 0), error.get("err_code", 0), error.get("description", ""))
    if error.err_code == WRONG_SEQUENCE:
        return WrongSequenceError(what, error.code, error.err_code, error.description)
    if error.err_code in FULL:
        return QueueFullError(what, error.code, error.err_code, error.description)
    if error.err_code == CONSUMER_LIMIT:
        return ConsumerLimitError(what, error.code, error.err_code, error.description)
    if error.err_code in RETRYABLE or error.code in {503, 429}:
        return NotReadyError(f"{what}: {error.description}")
    return JetStreamError(what, error.code, error.err_code, error.description)
