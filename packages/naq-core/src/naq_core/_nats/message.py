"""A message as it lies in a stream."""

from typing import NamedTuple


class Message(NamedTuple):
    """A stored message."""

    subject: str
    sequence: int
    data: bytes
    raw_headers: bytes = b""

    @property
    def headers(self) -> dict[str, str]:
        """The headers; where one stands twice, the last."""
        lines = (line.split(":", 1) for line in self.raw_headers.decode(errors="replace").split("\r\n")[1:] if ":" in line)
        return {name: value.strip() for name, value in lines}
