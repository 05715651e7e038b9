"""Our client overrides parts of nats-py: plain nats-py must understand what it writes, and the other way round."""

import asyncio

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from naq_core import Connection, Settings
from naq_core.transport.client import QuickClient
from naq_core.transport.lasting import LastingClient
from naq_core.transport.secure import SecureClient
from tests.support.eventually import eventually


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

                subscription = await receiver.subscribe(f"{settings.namespace}.wire", cb=on_message)
                await receiver.flush()  # nats-py's own ping may overtake the subscription, the second cannot
                await receiver.flush()
                await sender.publish(f"{settings.namespace}.wire", payload, reply, headers)
                message = await asyncio.wait_for(got, 5)
                assert (message.data, message.reply, message.headers) == (payload, reply, headers)
                await subscription.unsubscribe()
    finally:
        await plain.close()


async def test_a_flush_answers_for_everything_sent_before_it(settings: Settings) -> None:
    async with Connection(settings) as connection, Connection(settings) as other:
        for number in range(200):
            got = asyncio.Event()

            async def on_message(_: Msg, got: asyncio.Event = got) -> None:
                got.set()

            await connection.client.subscribe(f"{settings.namespace}.order.{number}", cb=on_message)
            await connection.client.flush()
            await other.client.publish(f"{settings.namespace}.order.{number}")
            await asyncio.wait_for(got.wait(), 5)


async def test_the_answer_to_a_flush_that_was_given_up_ends_nothing(settings: Settings) -> None:
    async with Connection(settings) as connection:
        for _ in range(3):
            flush = asyncio.create_task(connection.client.flush())
            await asyncio.sleep(0)  # it has sent its ping
            flush.cancel()
        await connection.client.flush()
        assert connection.client.is_connected
        assert connection.generation == 0


async def test_a_cancellation_that_comes_with_the_answer_is_not_swallowed(settings: Settings) -> None:
    async with Connection(settings) as connection:
        client = connection.client
        asking = asyncio.create_task(client.request("$JS.API.INFO", timeout=5))
        await asyncio.sleep(0)  # it has asked
        answer = client._build_message(0, b"a", b"", b"", None)
        next(iter(client.replies.waiting.values()))[0].set_result(answer)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        flushing = asyncio.create_task(client.flush())
        await asyncio.sleep(0)
        client._pongs[-1].set_result(True)
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        await client.flush()


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_each_subscription_gets_everything_in_order(settings: Settings, size: int) -> None:
    """Listeners are called as messages are read or by the read loop, as there are few or many; nats-py's callbacks by tasks."""
    heard: list[int] = []
    called: list[int] = []

    async def call(message: Msg) -> None:
        called.append(int(message.data))

    async with Connection(settings) as connection:
        client, prefix = connection.client, settings.namespace
        await client.listen(f"{prefix}.heard", lambda _subject, _reply, data, _headers: heard.append(int(data)))
        await client.subscribe(f"{prefix}.called", cb=call)
        for number in range(300):
            await client.publish(f"{prefix}.heard", b"%d" % number)
            if number % 7 == 0:
                await client.publish(f"{prefix}.called", b"%d" % number)
            if number % size == 0:
                await client.flush()
        await client.flush()

        async def all_called() -> None:
            assert called == list(range(0, 300, 7))

        await eventually(all_called)
    assert heard == list(range(300))


async def test_requests_say_who_is_missing(settings: Settings) -> None:
    async with Connection(settings) as connection:
        with pytest.raises(nats.errors.NoRespondersError):
            await connection.client.request(f"{settings.namespace}.nobody", timeout=5)
        await connection.client.subscribe(f"{settings.namespace}.silent")
        with pytest.raises(nats.errors.TimeoutError):
            await connection.client.request(f"{settings.namespace}.silent", timeout=0.05)
        assert len(connection.client.replies) == 0


def test_what_is_overridden_exists() -> None:
    plain = Client()
    for name in (
        "_process_headers",
        "_build_message",
        "_attempt_reconnect",
        "_flush_pending",
        "_send_ping",
        "_process_msg",
        "_remove_sub",
        "_process_info",
        "_close",
        "_process_err",
        "_connect_to_server",
        "_process_connect_init",
        "_setup_nkeys_connect",
    ):
        assert callable(getattr(plain, name))
    for name in ("_pending", "_pending_data_size", "_max_pending_size", "_max_payload", "_flush_queue", "_ps"):
        assert hasattr(plain, name)
    assert QuickClient.__mro__[1:4] == (LastingClient, SecureClient, Client)
