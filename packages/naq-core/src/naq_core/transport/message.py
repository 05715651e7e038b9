"""A message stored in a stream."""

from base64 import b64decode
from typing import Any, NamedTuple


class Message(NamedTuple):
    """A stored message."""

    subject: str
    sequence: int
    data: bytes
    raw_headers: bytes = b""

    @property
    def headers(self) -> dict[str, str]:
        """The headers; of duplicates, the last."""
        lines = (line.split(":", 1) for line in self.raw_headers.decode(errors="replace").split("\r\n")[1:] if ":" in line)
        return {name: value.strip() for name, value in lines}


def stored_message(stored: dict[str, Any]) -> Message:
    """Return the message of an answer of the JetStream API."""
    data, headers = (b64decode(stored.get(part, "")) for part in ("data", "hdrs"))
    return Message(stored["subject"], stored["seq"], data, headers)


def header_block(headers: dict[str, str]) -> bytes:
    """Return headers as a message carries them."""
    return "".join(["NATS/1.0\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items())]).encode()
