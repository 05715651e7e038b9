"""The wire parser: whatever way the bytes are cut, the same messages come out."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from naq_core.transport.headers import parse_headers
from naq_core.transport.parser import QuickParser

token = st.text("abcXYZ09_-$", min_size=1, max_size=12).map(str.encode)
block = st.sampled_from([b"", b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n"])
message = st.tuples(st.integers(1, 999), token, st.one_of(st.just(b""), token), st.binary(max_size=40), block)


class Recorder:
    """What the parser hands on."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def take_other(self, *message: Any) -> None:
        self.seen.append(message)

    def get(self, sid: int) -> Callable[..., None] | None:
        """The listener of a subscription: every third has one."""
        return None if sid % 3 else lambda *message: self.seen.append((sid, *message))

    async def _process_ping(self) -> None:
        self.seen.append("PING")

    async def _process_pong(self) -> None:
        self.seen.append("PONG")

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.seen.append(info)

    async def _process_err(self, error: str) -> None:
        self.seen.append(error)


def wire(sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> bytes:
    name = b"%b %d%b" % (subject, sid, b" " + reply if reply else b"")
    if headers:
        return b"HMSG %b %d %d\r\n%b%b\r\n" % (name, len(headers), len(headers) + len(data), headers, data)
    return b"MSG %b %d\r\n%b\r\n" % (name, len(data), data)


async def parse(chunks: list[bytes]) -> list[Any]:
    recorder = Recorder()
    parser = QuickParser(recorder, recorder)  # type: ignore[arg-type]  # stands in for the client
    for chunk in chunks:
        await parser.parse(chunk)
    return recorder.seen


@given(st.lists(st.one_of(message, st.sampled_from(["PING", "PONG"])), max_size=8), st.lists(st.integers(0, 600), max_size=6))
async def test_messages_survive_any_cut(sent: list[Any], cuts: list[int]) -> None:
    stream = b"".join(each.encode() + b"\r\n" if isinstance(each, str) else wire(*each) for each in sent)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    assert await parse([stream[a:b] for a, b in itertools.pairwise(edges)]) == sent


async def test_a_large_message_comes_in_many_pieces() -> None:
    sent = (7, b"a.b", b"", b"\r\nMSG " * 200_000, b"")
    stream = wire(*sent) + b"PING\r\n"
    assert await parse([stream[at : at + 32_768] for at in range(0, len(stream), 32_768)]) == [sent, "PING"]


async def test_commands_of_the_server_reach_the_client() -> None:
    stream = b'INFO {"version":"2.15.1"}\r\n+OK\r\n-ERR \'Authorization Violation\'\r\nPING\r\n'
    assert await parse([stream]) == [{"version": "2.15.1"}, "'authorization violation'", "PING"]


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n", b"MSG a 1 many\r\n", b"HMSG a 1 x 9\r\n", b"x" * (2 << 20)])
async def test_another_protocol_is_refused(garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        await parse([garbage])


def test_headers_are_read_leniently() -> None:
    assert parse_headers(b"NATS/1.0 404 No Messages\r\nA:1\r\nbroken\r\nB:  x:y \r\n\r\n") == {
        "Status": "404",
        "Description": "No Messages",
        "A": "1",
        "B": "x:y",
    }
    assert parse_headers(None) == {}
