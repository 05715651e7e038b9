"""What cannot be encoded, decoded or trusted."""

from naq_core.errors.base import NaqError


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
