"""What services write to their log: its forms, the fields of jobs, and the logging that an application has set up itself."""

import asyncio
import json
import logging
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import Settings
from naq_core.storage.connection import Connection
from naq_core.transport import link
from naq_dashboard import nats
from tests.cli.commands import run
from tests.support.eventually import eventually

SHOP = """
import logging

log = logging.getLogger("shop")

def sell(how):
    log.warning("sold in a %s", how, extra={"customer": {"id": 7}})

async def sell_async(how):
    sell(how)

def lose():
    raise ValueError('no "luck"')
"""
OWN = {
    "the root logger": "logging.basicConfig(format='app:%(levelname)s:%(message)s', level='INFO')",
    "the root logger, by a handler": """
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("app:%(levelname)s:%(message)s"))
logging.getLogger().addHandler(handler)
""",
    "its own logger": """
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("app:%(levelname)s:%(message)s"))
logging.getLogger("shop").addHandler(handler)
""",
    "all loggers, by a dictionary": """
import logging.config
logging.config.dictConfig({
    "version": 1,
    "formatters": {"app": {"format": "app:%(levelname)s:%(message)s"}},
    "handlers": {"app": {"class": "logging.StreamHandler", "formatter": "app"}},
    "root": {"handlers": ["app"], "level": "WARNING"},
})
""",
}


async def log_of_a_worker(settings: Settings, folder: Path, *options: str, imports: bool = True) -> str:
    """Run four jobs in a worker process, and return what it has printed."""
    async with Queue(settings=settings) as queue:
        await queue.enqueue("shop:sell", "thread")
        await queue.enqueue("shop:sell_async", "coroutine")
        await queue.options(process=True).enqueue("shop:sell", "process")
        await queue.enqueue("shop:lose")
    done = await asyncio.to_thread(
        run,
        "naq_worker",
        "--burst",
        *(("--imports", "shop") if imports else ()),
        *options,
        cwd=folder,
        NAQ_NATS_URL=settings.nats_url,
        NAQ_NAMESPACE=settings.namespace,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("log_format", ["json", "logfmt"])
async def test_lines_for_machines_have_the_fields_of_the_job(settings: Settings, tmp_path: Path, log_format: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    said = await log_of_a_worker(settings, tmp_path, "--log-format", log_format)
    lines = [json.loads(line) if log_format == "json" else parsed(line) for line in said.splitlines()]
    sold = {line["message"]: line for line in lines if line["logger"] == "shop"}
    assert sold.keys() == {"sold in a thread", "sold in a coroutine", "sold in a process"}
    for message, line in sold.items():
        function = "shop:sell_async" if "coroutine" in message else "shop:sell"
        assert (line["level"], line["queue"], line["function"], str(line["attempt"])) == ("WARNING", "default", function, "1")
        assert line["job_id"]
        assert line["customer"] == ({"id": 7} if log_format == "json" else "{'id': 7}")
    (lost,) = (line for line in lines if line["logger"] == "naq_worker.jobs")
    assert (lost["level"], lost["function"]) == ("ERROR", "shop:lose")
    assert lost["exception"].startswith("Traceback (most recent call last):\n")
    assert lost["exception"].endswith('ValueError: no "luck"')
    assert all(line["time"].endswith("Z") and len(line["time"]) == 24 for line in lines)


def parsed(line: str) -> dict[str, Any]:
    """Read a line of logfmt."""
    pairs = (part.split("=", 1) for part in shlex.split(line.replace("\\n", "\n")))
    return dict(pairs)


async def test_lines_for_people_name_the_job_once(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    said = await log_of_a_worker(settings, tmp_path)
    for how, function in (("thread", "sell"), ("coroutine", "sell_async"), ("process", "sell")):
        (line,) = (line for line in said.splitlines() if f"sold in a {how}" in line)
        assert line.split("WARNING shop: ")[1].startswith(f"sold in a {how} [job_id=")
        assert line.endswith(f" function=shop:{function} queue=default attempt=1]")
    (line,) = (line for line in said.splitlines() if "failed for good" in line)
    assert "[job_id=" not in line


@pytest.mark.parametrize("imports", [True, False], ids=["imported first", "imported by the first job"])
@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
async def test_an_applications_own_logging_stays(settings: Settings, tmp_path: Path, own: str, imports: bool) -> None:
    (tmp_path / "shop.py").write_text(f"import logging\n{own}\n{SHOP}")
    said = await log_of_a_worker(settings, tmp_path, imports=imports)
    sold = [line for line in said.splitlines() if "sold in a" in line]
    assert len(sold) == 3, "each line once"
    if imports:
        assert {line.split(" in a ")[0] for line in sold} == {"app:WARNING:sold"}, "in the application's form, in children too"
        assert said.count("failed for good") == 1, "and NAQ's own lines are there"


async def test_levels_that_an_application_sets_stay(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(f"{SHOP}\nlog.setLevel('ERROR')\nlogging.getLogger('naq_worker').setLevel('CRITICAL')\n")
    said = await log_of_a_worker(settings, tmp_path, "--log-level", "DEBUG")
    assert "sold" not in said
    assert "naq_worker" not in said


@pytest.mark.parametrize("command", ["naq_worker", "naq_scheduler", "naq_dashboard"])
def test_reasons_of_an_end_are_in_the_form_of_the_log(command: str, settings: Settings) -> None:
    wrong = {
        "naq_worker": ["a b"],
        "naq_scheduler": ["--imports", "nowhere_at_all"],
        "naq_dashboard": ["--host", "0.0.0.0"],
    }
    done = run(command, *wrong[command], "--log-format", "json", NAQ_NATS_URL=settings.nats_url)
    assert done.returncode in {2, 4}, done.stderr
    last = json.loads(done.stderr.splitlines()[-1])
    assert (last["level"], last["logger"]) == ("CRITICAL", command.replace("_", "."))


def test_an_unknown_form_is_refused() -> None:
    done = run("naq_worker", "--log-format", "xml")
    assert done.returncode == 2
    assert "log_format" in done.stderr
    assert "must be one of console, json, logfmt" in done.stderr


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
async def test_it_is_said_within_a_second_that_nats_cannot_be_reached(caplog: pytest.LogCaptureFixture, answers: bool) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if answers:
            listener.listen()  # and never says a word, as a firewall does not
        url = f"nats://ada:secret@127.0.0.1:{listener.getsockname()[1]}"
        connection = Connection(Settings(nats_url=url), name="test")
        opening = asyncio.create_task(connection.open())
        await eventually(lambda: is_said(caplog, "trying for 5 s"), 1.0)
        opening.cancel()
        await asyncio.wait({opening})
    (record,) = (each for each in caplog.records if "trying for" in each.getMessage())
    assert record.levelno == logging.WARNING
    assert "at nats://***@127.0.0.1:" in record.getMessage()


async def test_the_dashboard_says_once_that_nats_is_away(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(nats, "PAUSE", 0.01)
    tries = 0

    def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.close()

    async with await asyncio.start_server(count, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        dashboard = nats.Broker(Settings(nats_url=f"nats://127.0.0.1:{port}"))
        dashboard.begin()
        await eventually(lambda: is_said(caplog, "Trying again every"))
        before = tries
        await eventually(lambda: is_above(tries, before + 3))
        await dashboard.close()
    assert [caplog.text.count(each) for each in ("Trying again every", "trying for")] == [1, 1]


def is_above(number: int, least: int) -> None:
    assert number > least


def is_said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    assert text in caplog.text
