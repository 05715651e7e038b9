"""Our client overrides parts of nats-py: plain nats-py must understand what it writes, and the other way round."""

import asyncio

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from naq_core import Connection, Settings
from naq_core._nats.client import QuickClient


@pytest.mark.parametrize("headers", [None, {"Naq-State": "dead", "Nats-TTL": "3s"}])
@pytest.mark.parametrize("payload", [b"", b"body", b"\r\n\x00\xff" * 50_000])
@pytest.mark.parametrize("reply", ["", "some.reply"])
async def test_messages_are_the_same_both_ways(
    settings: Settings, headers: dict[str, str] | None, payload: bytes, reply: str
) -> None:
    plain = await nats.connect(settings.nats_url)
    try:
        async with Connection(settings) as connection:
            for sender, receiver in ((connection.client, plain), (plain, connection.client)):
                got: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

                async def on_message(message: Msg, got: asyncio.Future[Msg] = got) -> None:
                    got.set_result(message)

                await receiver.subscribe(f"{settings.namespace}.wire", cb=on_message)
                await receiver.flush()
                await sender.publish(f"{settings.namespace}.wire", payload, reply, headers)
                message = await asyncio.wait_for(got, 5)
                assert (message.data, message.reply, message.headers) == (payload, reply, headers)
    finally:
        await plain.close()


def test_what_is_overridden_exists() -> None:
    plain = Client()
    for name in ("_process_headers", "_build_message", "_attempt_reconnect", "_flush_pending"):
        assert callable(getattr(plain, name))
    for name in ("_pending", "_pending_data_size", "_max_pending_size", "_max_payload", "_flush_queue"):
        assert hasattr(plain, name)
    assert QuickClient.__mro__[1] is Client
