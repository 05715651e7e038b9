"""What is printed arrives, or one line says why it does not: closed pipes, full disks, terminals without Unicode."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import Settings
from naq_worker import Worker
from tests.cli.commands import environment, started, wait_for_line
from tests.cli.test_cli_docs import spelled
from tests.cli.zygote import ZYGOTE
from tests.integration import work
from tests.support.eventually import eventually

UGLY = ("Traceback", "Exception ignored", "never retrieved", "bug in NAQ", "codec can't")
FULL = "naq: cannot write to standard output: No space left on device\n"
TEXT = "Za\u017c\u00f3\u0142\u0107 \u6f22\u5b57 \U0001f389"

COMMANDS = """
--help
--version
help job
enqueue --help
enqueue math:sqrt 2 --in 1h --job-id again --unique key --on-clash return
job list
job list --json
job list -q
job show done
job show dead --jsonl
job result done
job result dead
job wait done
job logs done
job cancel state:held queue:none --yes
job retry state:dead queue:none
job delete state:dead queue:none --yes
job run-now held
job reschedule held --in 1h
queue list
queue show default
queue peek default
queue pause default
queue resume default
queue limit default none
queue policy default
queue policy default --rate 10/s --burst 2 --weight vip=3
queue purge none
queue delete none
signal
signal approved --data true
check worker
check queue --age 1h
check schedule
schedule list
schedule add math:sqrt 2 --id daily --cron @daily --replace
schedule show daily
schedule next daily
schedule pause daily
schedule resume daily
schedule trigger daily
schedule backfill daily --since 1h --yes
schedule remove none --yes
workflow list
workflow show none
workflow cancel none --yes
workflow retry none
workers list
workers show none
workers quiet none
workers resume none
workers resize none 3
workers stack none
workers stop none
audit
stats
deploy mark v12
deploy list
bench enqueue -n 5 --reps 1
doctor
setup default
config show
completion bash
generate compose
generate systemd
generate kubernetes
generate keda
generate nats-config
generate permissions --user shop=producer
nonsense
job list --nonsense
queue purge default --yes
"""
"""Every command that ends by itself."""
LASTING = {"dev", "server", "events", "top", "worker", "scheduler", "dashboard"}


@pytest.fixture
async def filled(settings: Settings, queue: Queue) -> dict[str, str]:
    """The variables that lead to a namespace with a job in every state."""
    await queue.options(job_id="done").enqueue(work.returned, TEXT)
    await queue.options(job_id="dead").enqueue(work.fail, TEXT)
    await Worker("default", settings=settings, burst=True).run()
    await queue.options(job_id="held", delay=3600).enqueue(work.returned, TEXT)
    return {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}


def lines() -> list[list[str]]:
    return [line.split() for line in COMMANDS.strip().splitlines()]


def test_every_command_is_walked() -> None:
    walked = {" ".join(words[:length]) for words in lines() for length in (1, 2)}
    assert set(spelled()) - walked == LASTING


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("target", ["/dev/full", "pipe", "closed"])
async def test_every_command_ends_quietly_where_its_output_cannot_be_written(target: str, filled: dict[str, str]) -> None:
    wrong = await asyncio.to_thread(lambda: [each for words in lines() for each in _walk(words, target, filled)])
    assert wrong == []


def _walk(words: list[str], target: str, variables: dict[str, str]) -> Iterator[str]:
    """Run a command as it is, without standard output and without standard error; yield what is wrong."""
    env = environment(**variables)
    usual = _usual(words, variables)
    if usual.stdout:
        done = ZYGOTE.run(tuple(words), env, None, to={"out": target})
        expected = {"/dev/full": (1, FULL), "pipe": (141, ""), "closed": (usual.returncode, usual.stderr)}[target]
        if any(each in done.stderr for each in UGLY) or done.returncode != expected[0] or not done.stderr.endswith(expected[1]):
            yield f"{words} ends with {done.returncode}: {done.stderr}"
    if usual.stderr:
        done = ZYGOTE.run(tuple(words), env, None, to={"err": target})
        if done.returncode != usual.returncode or bool(done.stdout) != bool(usual.stdout):
            yield f"{words} without standard error ends with {done.returncode} instead of {usual.returncode}: {done.stdout}"


_USUAL: dict[str, subprocess.CompletedProcess[str]] = {}


def _usual(words: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command as it is, once in all tests."""
    line = " ".join(words)
    if line not in _USUAL:
        _USUAL[line] = ZYGOTE.run(tuple(words), environment(**variables), None)
    return _USUAL[line]


async def test_every_command_escapes_what_the_terminal_cannot_show(filled: dict[str, str]) -> None:
    def walk() -> list[str]:
        wrong = []
        for words in lines():
            usual = _usual(words, filled)
            done = ZYGOTE.run(tuple(words), environment(**filled), None, encoding="ascii")  # in which the answer is read, too
            if done.returncode != usual.returncode or any(each in done.stderr for each in UGLY):
                wrong.append(f"{words} {done.returncode} {done.stderr}")
            if "--json" in words:
                assert repr(TEXT) in [job["result"] for job in json.loads(done.stdout)["jobs"]]
        return wrong

    assert await asyncio.to_thread(walk) == []


C_LOCALE = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


async def test_what_is_typed_and_piped_where_the_locale_is_c_means_what_it_says(settings: Settings, queue: Queue) -> None:
    env = environment(NAQ_NATS_URL=settings.nats_url, NAQ_NAMESPACE=settings.namespace, **C_LOCALE)

    def call(*words: str, stdin: bytes = b"") -> str:
        command = [sys.executable, "-m", "naq_cli", "enqueue", "tests.integration.work:returned", *words, "-q"]
        done = subprocess.run(command, env=env, input=stdin, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    ids = [
        await asyncio.to_thread(call, TEXT),
        await asyncio.to_thread(call, "--json-args", "-", stdin=json.dumps([TEXT], ensure_ascii=False).encode()),
    ]
    await Worker("default", settings=settings, burst=True).run()
    assert [await (await queue.job(each)).result(10) for each in ids] == [TEXT, TEXT]


def test_a_word_that_is_no_text_is_refused() -> None:
    command = [sys.executable, "-m", "naq_cli", "enqueue", "math:sqrt", "\udcff\udcfe"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == "naq: argument 2 is not UTF-8: '\\udcff\\udcfe'\n"


SERVICES: dict[str, list[str]] = {
    "naq_worker": ["--burst"],
    "naq_scheduler": ["--http-port", "PORT"],
    "naq_dashboard": ["--port", "PORT"],
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("module", SERVICES)
@pytest.mark.parametrize("target", ["/dev/full", "pipe"])
async def test_a_service_goes_on_where_nothing_can_be_written(module: str, target: str, settings: Settings, queue: Queue) -> None:
    job = await queue.enqueue(print, "x" * 100_000)
    own = await queue.options(process=True).enqueue(print, "x" * 100_000)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    env = environment(NAQ_NATS_URL=settings.nats_url, NAQ_NAMESPACE=settings.namespace, NAQ_LOG_LEVEL="DEBUG")
    words = [port if word == "PORT" else word for word in SERVICES[module]]
    with _silent(target, [module, *words], env) as process:
        try:
            if module != "naq_worker":
                await eventually(lambda: _answers(f"http://127.0.0.1:{port}/"), 30)
                process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 40) == 0
        finally:
            process.kill()
    if module == "naq_worker":
        assert [await each.status() for each in (job, own)] == ["succeeded", "succeeded"]


def _silent(target: str, words: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    with _nowhere(target) as nowhere:
        return subprocess.Popen([sys.executable, "-m", *words], env=env, stdout=nowhere, stderr=nowhere)


@contextlib.contextmanager
def _nowhere(target: str) -> Iterator[int]:
    """Open what cannot be written to."""
    if target == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(target, os.O_WRONLY)
    try:
        yield writing
    finally:
        os.close(writing)


def _answers(url: str) -> None:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError as error:
        raise AssertionError(url) from error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("module", SERVICES)
def test_help_without_naq_cli_says_that_the_disk_is_full(module: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", module, "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, FULL)


@pytest.mark.parametrize("words", ["dev --nats-port 0 --headless", "server --port 0"])
def test_what_runs_on_ends_with_all_it_started_where_nobody_reads_it(words: str, tmp_path: Path) -> None:
    env = environment(TMPDIR=str(tmp_path))
    command = [sys.executable, "-m", "naq_cli", *words.split()]
    with _nowhere("pipe") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, env=env, text=True, timeout=60, check=False)
    assert done.returncode == 141
    assert not any(each in done.stderr for each in UGLY), done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_events_end_when_their_reader_has_gone(settings: Settings, queue: Queue) -> None:
    await queue.enqueue(work.add, 1)
    with started("naq_cli", "events", NAQ_NATS_URL=settings.nats_url, NAQ_NAMESPACE=settings.namespace) as process:
        await asyncio.to_thread(wait_for_line, process.stdout, "kind")  # the header
        assert process.stdout is not None
        process.stdout.close()
        await Worker("default", settings=settings, burst=True).run()
        assert await asyncio.to_thread(process.wait, 30) == 141
        assert process.stderr is not None
        assert process.stderr.read() == ""
