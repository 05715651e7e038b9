"""No part of a password is in an exception: not in its text, its arguments, its notes, what it was raised from, or the log."""

import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from naq_core import NaqError, Settings
from naq_core.connection import Connection
from naq_core.server import EmbeddedServer
from naq_dashboard.settings import DashboardSettings

PASSWORD = "p@ss:w/o#r%d?&+ [x]9,z"
ENCODED = quote(PASSWORD, safe="")
PARTS = ["ss:w", "w/o#", "r%d?", "x]9", "o%23r", "w%2Fo", "%5Bx"]
NOT_UTF8 = PASSWORD.encode() + b"\xff"

FILES: dict[str, bytes] = {
    "naq.toml": f'nats_password = "{PASSWORD}\n'.encode(),
    "naq.toml ": b'nats_password = "' + NOT_UTF8 + b'"\n',
    "naq.toml  ": f'nats_password = ["{PASSWORD}"]\n'.encode(),
    "nats/context/c.json": f'{{"password": "{PASSWORD}", '.encode(),
    "nats/context/c.json ": b'{"password": "' + NOT_UTF8 + b'"}',
    "nats/context/c.json  ": json.dumps({"password": [PASSWORD]}).encode(),
    "nats/context/c.json   ": json.dumps({"password": f"op://{PASSWORD}"}).encode(),
}
"""Files that cannot be read, by their names (spaces at the end tell them apart)."""
VARIABLES: dict[str, dict[str, str]] = {
    "an address that is not encoded": {"NAQ_NATS_URL": f"nats://ada:{PASSWORD}@127.0.0.1:4222"},
    "a port that is none": {"NAQ_NATS_URL": f"nats://ada:{ENCODED}@127.0.0.1:99999"},
    "another scheme": {"NAQ_NATS_URL": f"http://ada:{ENCODED}@127.0.0.1:4222"},
    "a bracket": {"NAQ_NATS_URL": f"nats://ada:{ENCODED}@[::1:4222"},
    "bytes that are no text": {"NAQ_NATS_PASSWORD": f"{PASSWORD}\udcff"},
    "a file that is not UTF-8": {"NAQ_NATS_PASSWORD_FILE": "secret"},
    "a signing key that is not UTF-8": {"NAQ_SIGNING_KEY_FILE": "secret"},
    "credentials that are not UTF-8": {"NAQ_NATS_CREDS": "secret"},
    "a seed that is not UTF-8": {"NAQ_NATS_NKEY": "secret"},
    "a seed that is none": {"NAQ_NATS_NKEY": "text"},
}
ADDRESSES = [
    "nats://ada:{0}@127.0.0.1:{1}",
    "nats://{0}@127.0.0.1:{1}",
    "ws://127.0.0.1:{1}/?token={0}",
    "tls://ada:{0}@127.0.0.1:{1}",
    "nats://ada:{0}@127.0.0.1:1,nats://eve:{0}@127.0.0.1:{1}",
    "nats://ada:{0}@127.0.0.1:1",
    "nats://ada:{0}@no-such-host.invalid:4222",
]


def words_of(error: BaseException | None, seen: frozenset[int] = frozenset()) -> Iterator[str]:
    """Yield all that an exception, and whatever it was raised from, holds."""
    if error is None or id(error) in seen:
        return
    seen |= {id(error)}
    yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
    yield from (repr(getattr(error, name, "")) for name in ("__notes__", "doc", "object", "filename"))
    for each in (error.__cause__, error.__context__, *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())):
        yield from words_of(each, seen)


def expect_nothing_of_it(error: BaseException, log: pytest.LogCaptureFixture) -> None:
    said = [*words_of(error), "".join(traceback.format_exception(error)), log.text]
    assert [text for text in said if any(part in text for part in PARTS)] == []


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Work in an empty folder, and keep all that is logged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    caplog.set_level(logging.DEBUG)


async def connect() -> None:
    async with Connection(Settings.load(), patient=False):
        pass


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name.strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(FILES[name])
    if "context" in name:
        monkeypatch.setenv("NAQ_NATS_CONTEXT", "c")
    with pytest.raises(NaqError) as caught:
        Settings.load()
    expect_nothing_of_it(caught.value, caplog)


@pytest.mark.parametrize("case", VARIABLES)
async def test_a_variable_that_is_wrong(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").write_bytes(NOT_UTF8)
    (tmp_path / "text").write_text(PASSWORD, encoding="utf-8")
    for variable, value in VARIABLES[case].items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(NaqError) as caught:
        await connect()
    expect_nothing_of_it(caught.value, caplog)


@pytest.mark.parametrize("variable", ["PASSWORD", "USERS", "TOKEN", "READ_TOKEN", "SECRET"])
def test_a_variable_of_the_dashboard_that_is_no_text(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(f"NAQ_DASHBOARD_{variable}", f"{PASSWORD}\udcff")
    with pytest.raises(NaqError) as caught:
        DashboardSettings.load()
    expect_nothing_of_it(caught.value, caplog)


@pytest.fixture(scope="module")
def guarded() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(config='authorization { user: "ada", password: "another" }\n') as server:
        yield server


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_server_that_refuses_or_is_not_there(
    address: str, guarded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NAQ_NATS_URL", address.format(ENCODED, guarded.port))
    with pytest.raises(NaqError) as caught:
        await connect()
    expect_nothing_of_it(caught.value, caplog)
    assert not any(part in repr(Settings.load()) for part in PARTS)
