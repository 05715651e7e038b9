"""Who asks for TLS gets it or an error: a server without TLS gets neither credentials nor jobs. No address shows its secrets."""

import asyncio
import json
import os
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import BrokerUnavailableError, ConfigurationError, Connection, Settings, TlsNotOfferedError, get_nats_connection
from naq_core.commands import unreachable
from naq_core.server import EmbeddedServer
from naq_core.settings import redact_url
from naq_core.transport.auth import without_secrets
from naq_core.transport.link import CONNECT_TIMEOUT
from naq_worker import Worker
from tests.integration import work
from tests.support.eventually import eventually
from tests.support.tls import Listener, Tls

SECRET = "the-secret-of-this-test"


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


def _asking(tls: Tls, port: int, how: str) -> dict[str, Any]:
    address = f"127.0.0.1:{port}"
    secret = {"nats_user": "ada", "nats_password": SECRET}
    return {
        "tls address": {"nats_url": f"tls://ada:{SECRET}@{address}"},
        "capitals": {"nats_url": f"TLS://{SECRET}@{address}"},
        "one of a list": {"nats_url": f"nats://{address},tls://{address}", **secret},
        "authority": {"nats_url": f"nats://{address}", "nats_tls_ca": tls["ca"], **secret},
        "address without scheme": {"nats_url": address, "nats_tls_ca": tls["ca"], "nats_token": SECRET},
        "certificate": {
            "nats_url": f"nats://{address}",
            "nats_tls_cert": tls["client"],
            "nats_tls_key": tls["client_key"],
            "nats_token": SECRET,
        },
    }[how]


WAYS = ["tls address", "capitals", "one of a list", "authority", "address without scheme", "certificate"]


@pytest.mark.parametrize("how", WAYS)
async def test_nothing_is_sent_to_a_server_without_tls(how: str, tls: Tls) -> None:
    async with Listener().listening() as listener:
        with pytest.raises(TlsNotOfferedError, match="does not offer TLS, which is required") as caught:
            await Connection(Settings(**_asking(tls, listener.port, how))).open()
        assert listener.visits
        assert listener.received == b""
        assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_real_server_without_tls_is_refused_by_everything_that_connects(
    nats_server: EmbeddedServer, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NAQ_NATS_URL": nats_server.url, "NAQ_NATS_TLS_CA": tls["ca"], "NAQ_NATS_PASSWORD": SECRET}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TlsNotOfferedError, match="nats_tls_ca from NAQ_NATS_TLS_CA") as caught:
        await Queue("default").connection()
    with pytest.raises(TlsNotOfferedError):
        await Worker("default").run()
    with pytest.raises(TlsNotOfferedError):
        async with asyncio.timeout(CONNECT_TIMEOUT / 2):  # it is said at once
            await get_nats_connection()
    assert "naq server" not in unreachable(None, caught.value)  # the advice to start one would not help


async def test_a_context_with_an_authority_asks_for_tls_too(
    nats_server: EmbeddedServer, tls: Tls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path))
    path = tmp_path / "nats" / "context" / "test.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"url": nats_server.url, "ca": tls["ca"], "user": "ada", "password": SECRET}), encoding="utf-8")
    with pytest.raises(TlsNotOfferedError):
        await Connection(Settings.load(nats_context="test")).open()


async def test_the_server_of_a_list_that_has_tls_is_found(tls: Tls) -> None:
    async with Listener().listening() as listener:
        with tls.server() as server:
            url = f"tls://127.0.0.1:{listener.port},tls://127.0.0.1:{server.port}"
            for _ in range(4):  # the order is drawn
                async with Connection(Settings(nats_url=url, nats_tls_ca=tls["ca"], nats_token=SECRET)):
                    pass
        assert listener.received == b""


async def test_a_server_that_leaves_tls_to_its_clients_is_asked_for_it(tls: Tls) -> None:
    with tls.server(more="allow_non_tls: true") as server:
        async with Connection(Settings(nats_url=server.url, nats_tls_ca=tls["ca"])) as connection:
            assert connection.client._transport is not None
            assert connection.client._transport._io_writer.get_extra_info("cipher")  # type: ignore[attr-defined]
        async with Connection(Settings(nats_url=server.url)):
            pass  # who does not ask for it may do without


async def test_a_server_without_tls_met_at_a_reconnect_gets_nothing(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    config = f'authorization {{ user: ada, password: "{SECRET}" }}'
    with tls.server(more=config) as server:
        port = server.port
        settings = Settings(
            nats_url=f"tls://127.0.0.1:{port}",
            nats_tls_ca=tls["ca"],
            nats_user="ada",
            nats_password=SECRET,
            publish_budget=timedelta(seconds=1),
        )
        async with Queue("default", settings=settings) as queue:
            await queue.enqueue(work.add, 1)
            connection = await queue.connection()
            server.kill()
            async with Listener().listening(port) as listener:

                def is_refused() -> None:
                    assert "does not offer TLS, which is required" in caplog.text

                await eventually(is_refused)
                with pytest.raises(TlsNotOfferedError):
                    await queue.enqueue(work.add, 2)
                connection.client.post("somewhere", b"a secret job")
                assert listener.received == b""
            visits = listener.visits
            server.start()
            await queue.enqueue(work.add, 3)  # it goes on as soon as the real one is back
    assert visits
    assert listener.received == b""
    assert SECRET not in caplog.text


async def test_what_waits_is_not_sent_in_plain_text_by_closing(tls: Tls) -> None:
    """nats-py writes at its end what is pending, to whatever it is connected to just then."""
    with tls.server() as server:
        connection = Connection(Settings(nats_url=f"tls://127.0.0.1:{server.port}", nats_tls_ca=tls["ca"]))
        await connection.open()
        server.kill()
        async with Listener(greets=False).listening(server.port) as listener:

            def is_met() -> None:
                assert listener.visits

            await eventually(is_met)
            connection.client.post("somewhere", b"a secret job")
            await connection.close()
        assert listener.received == b""


async def test_websockets_without_tls_are_refused_where_tls_is_asked_for(tls: Tls) -> None:
    with pytest.raises(ConfigurationError, match="use wss://"):
        await Connection(Settings(nats_url="ws://127.0.0.1:1", nats_tls_ca=tls["ca"])).open()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://localhost:4222", "nats://localhost:4222"),
        ("a:1, b:2", "a:1, b:2"),
        ("tls://[::1]:4222/", "tls://[::1]:4222/"),
        ("nats://S3CRET@host", "nats://***@host"),
        ("S3CRET@host:1", "***@host:1"),
        ("nats://ada:S3CRET@host:1,nats://b:2", "nats://***@host:1,nats://b:2"),
        ("nats://ada:S3C@RET@host", "nats://***@host"),
        ("nats://host:4222?token=S3CRET", "nats://host:4222?***"),
        ("wss://host/S3CRET", "wss://host/***"),
        ("nats://host#S3CRET", "nats://host#***"),
        ("nats://host?token=x@S3CRET", "nats://***"),
        ("nats://ada:S3C?RET@host", "nats://***"),
        ("nats://ada:S3C/RET@host", "nats://***@host"),
        ("nats://ada:1,S3CRET@host", "nats://***,***@host"),
        ("nats://ada:S3C,RET@host", "nats://***,***@host"),
        ("nats://ada:S3CRET", "nats://***"),
        ("NATS://S3CRET@host", "NATS://***@host"),
    ],
)
def test_whatever_may_be_secret_in_an_address_is_not_shown(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize("url", [f"nats://ada:{SECRET}", f"nats://h:1?token={SECRET},nats://x:y", f"nats://ada:{SECRET},b@h:x"])
def test_an_address_that_is_refused_shows_no_part_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(nats_url=url)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


async def test_no_secret_of_an_address_is_in_any_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with Listener().listening() as listener:
        port = listener.port
    for url in (f"nats://{SECRET}@127.0.0.1:{port}", f"nats://127.0.0.1:{port}?token={SECRET}"):
        settings = Settings(nats_url=url)
        with pytest.raises(BrokerUnavailableError) as caught:
            await Connection(settings, patient=False).open()
        shown = "".join(traceback.format_exception(caught.value))
        assert SECRET not in f"{shown} {settings!r} {Queue(settings=settings)!r} {caplog.text}"
        assert SECRET not in without_secrets(settings, f"cannot connect to url='{url}'")
