"""Every way to authenticate, on a server that asks for it; wrong credentials are a typed error that shows none of them."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import (
    AuthenticationError,
    BrokerUnavailableError,
    ConfigurationError,
    Connection,
    Settings,
    get_nats_connection,
)
from naq_core.server import EmbeddedServer
from naq_core.transport.link import CONNECT_TIMEOUT
from naq_worker import Worker
from tests.integration import work
from tests.support.nats_jwt import USER, Operator, new_key
from tests.support.tls import Tls

SECRET = "the-secret-of-this-test"
WRONG = "another-secret-of-this-test"


def settings_for(server: EmbeddedServer, **settings: Any) -> Settings:
    return Settings(**{"nats_url": server.url, "namespace": "auth"} | settings)


async def works(settings: Settings) -> None:
    """Run a job from enqueue to result, keep-alive thread and all."""
    async with Queue(settings=settings) as queue:
        job = await queue.enqueue(work.add, 1, 2)
        await Worker("default", settings=settings, burst=True).run()
        assert await job.result(10) == 3


async def is_refused(settings: Settings, *secrets: str) -> AuthenticationError:
    """Try to connect; none of the secrets may be shown anywhere."""
    with pytest.raises(AuthenticationError) as caught:
        await Connection(settings).open()
    for secret in secrets:
        assert secret not in f"{caught.value} {caught.value!r} {settings!r}"
    return caught.value


@pytest.fixture
def user_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(config=f'authorization {{ user: ada, password: "{SECRET}" }}') as server:
        yield server


@pytest.mark.parametrize("user", ["ada:p%40ss%3Aw%2Fo%23r%25d%3F%5Bx%5D", "eve%40home:plain"])
async def test_user_and_password_of_an_address_are_percent_decoded(user: str) -> None:
    users = '{ user: ada, password: "p@ss:w/o#r%d?[x]" }, { user: "eve@home", password: plain }'
    with EmbeddedServer(config=f"authorization {{ users: [ {users} ] }}") as server:
        await works(settings_for(server, nats_url=server.url.replace("://", f"://{user}@")))


async def test_the_token_of_an_address_is_percent_decoded() -> None:
    with EmbeddedServer(config='authorization { token: "t@k/n" }') as server:
        await works(settings_for(server, nats_url=server.url.replace("://", "://t%40k%2Fn@")))


async def test_user_and_password(user_server: EmbeddedServer, caplog: pytest.LogCaptureFixture) -> None:
    good = settings_for(user_server, nats_user="ada", nats_password=SECRET)
    await works(good)
    error = await is_refused(replace(good, nats_password=WRONG), WRONG)
    assert "rejected the credentials (nats_user from argument, nats_password from argument)" in str(error)
    assert "requires credentials, but none were given" in str(await is_refused(settings_for(user_server)))
    assert SECRET not in caplog.text
    assert WRONG not in caplog.text


async def test_a_password_in_the_address(user_server: EmbeddedServer) -> None:
    await works(settings_for(user_server, nats_url=f"nats://ada:{SECRET}@127.0.0.1:{user_server.port}"))
    wrong = settings_for(user_server, nats_url=f"nats://ada:{WRONG}@127.0.0.1:{user_server.port}")
    assert "those in nats_url" in str(await is_refused(wrong, WRONG))


async def test_a_password_file_and_the_plain_connection(
    user_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\n", encoding="utf-8")
    monkeypatch.setenv("NATS_USER", "ada")
    monkeypatch.setenv("NAQ_NATS_PASSWORD_FILE", os.fspath(tmp_path / "password"))
    plain = await get_nats_connection(user_server.url)
    await plain.close()
    monkeypatch.setenv("NATS_USER", "bob")
    with pytest.raises(AuthenticationError, match="nats_user from NATS_USER, nats_password from NAQ_NATS_PASSWORD_FILE"):
        async with asyncio.timeout(CONNECT_TIMEOUT / 2):  # it is said at once
            await get_nats_connection(user_server.url)


async def test_token() -> None:
    with EmbeddedServer(config=f'authorization {{ token: "{SECRET}" }}') as server:
        good = settings_for(server, nats_token=SECRET)
        await works(good)
        await is_refused(replace(good, nats_token=WRONG), WRONG)


async def test_nkey(tmp_path: Path) -> None:
    key, other = new_key(USER), new_key(USER)
    for name, seed in {"seed": key.seed, "other": other.seed, "broken": key.seed[:-3]}.items():
        (tmp_path / name).write_text(f"{seed}\n", encoding="utf-8")
    with EmbeddedServer(config=f"authorization {{ users = [ {{ nkey: {key.public} }} ] }}") as server:
        good = settings_for(server, nats_nkey=os.fspath(tmp_path / "seed"))
        await works(good)
        await is_refused(replace(good, nats_nkey=os.fspath(tmp_path / "other")), other.seed)
        for name, problem in {"broken": "does not contain an NKey seed", "missing": "cannot be read: No such file"}.items():
            with pytest.raises(ConfigurationError, match=problem) as caught:
                await Connection(replace(good, nats_nkey=os.fspath(tmp_path / name))).open()
            assert key.seed[:-3] not in str(caught.value)


async def test_credentials_file(tmp_path: Path) -> None:
    ours, foreign = Operator(), Operator()
    for name, operator in {"creds": ours, "foreign": foreign}.items():
        (tmp_path / name).write_text(operator.credentials(), encoding="utf-8")
    (tmp_path / "nothing").write_text("no credentials", encoding="utf-8")
    with EmbeddedServer(config=ours.config()) as server:
        good = settings_for(server, nats_creds=os.fspath(tmp_path / "creds"))
        await works(good)
        await is_refused(replace(good, nats_creds=os.fspath(tmp_path / "foreign")))
        with pytest.raises(ConfigurationError, match="nothing is not a credentials file"):
            await Connection(replace(good, nats_creds=os.fspath(tmp_path / "nothing"))).open()


async def test_without_the_nkeys_package_the_pip_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ConfigurationError, match=r'pip install "naq-core\[nkeys\]"'):
        await Connection(Settings(nats_creds=os.fspath(tmp_path / "any"))).open()


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    return Tls(tmp_path)


async def test_tls(tls: Tls) -> None:
    with tls.server() as server:
        await works(settings_for(server, nats_tls_ca=tls["ca"]))
        await works(settings_for(server, nats_tls_ca=tls["ca"], nats_url=f"tls://localhost:{server.port}"))
        for wrong in ({}, {"nats_tls_ca": tls["foreign_ca"]}):
            with pytest.raises(BrokerUnavailableError, match=r"TLS failed: .*certificate"):
                await Connection(settings_for(server, **wrong), patient=False).open()


async def test_a_client_certificate(tls: Tls) -> None:
    with tls.server(verify="true") as server:
        anonymous = settings_for(server, nats_tls_ca=tls["ca"])
        await works(replace(anonymous, nats_tls_cert=tls["client"], nats_tls_key=tls["client_key"]))
        with pytest.raises(BrokerUnavailableError):
            await Connection(anonymous, patient=False).open()


async def test_a_missing_certificate_is_named(tls: Tls) -> None:
    with pytest.raises(ConfigurationError, match="cannot load the TLS files"):
        await Connection(Settings(nats_tls_ca="/no/such/file")).open()
    with pytest.raises(ConfigurationError, match="requires nats_tls_cert"):
        await Connection(Settings(nats_tls_key=tls["client_key"])).open()


async def test_a_context_brings_its_credentials(
    user_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path))
    path = tmp_path / "nats" / "context" / "test.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"url": user_server.url, "user": "ada", "password": SECRET}), encoding="utf-8")
    settings = Settings.load(nats_context="test", namespace="auth")
    await works(settings)
    assert SECRET not in repr(settings)
