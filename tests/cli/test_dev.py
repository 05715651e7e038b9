"""`naq dev` in a real terminal."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from naq_core.server import EmbeddedServer
from tests.cli.commands import naq
from tests.cli.terminal import plain, terminal
from tests.test_examples import processes_marked


def start(folder: Path, *words: str, **variables: str) -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        child = terminal("dev", "--nats-port", "0", *words, width=120, TMPDIR=str(folder), NAQ_TEST_MARK=str(folder), **variables)
    finally:
        os.chdir(before)
    child.expect(r"NATS server at (nats://\S+)")
    return child, child.match[1]


def ended(child: Any, folder: Path) -> None:
    child.expect_exact("Stopped.")
    child.expect_exact("\r\n")
    child.wait()
    assert child.exitstatus == 0
    assert processes_marked(str(folder)) == []
    assert list(folder.glob("naq-server-*")) == []


def test_one_command_runs_jobs_reloads_and_ends_cleanly(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def price(): return 'cheap'\n")
    child, url = start(tmp_path, "shop")
    child.expect_exact("takes jobs from default, 10 at a time")
    shown = plain(child.before + child.after).split("\r\n")
    assert max(map(len, shown)) <= 80, "no line wraps in an ordinary terminal"
    assert naq("enqueue", "shop:price", "--wait", NAQ_NATS_URL=url).stdout == '"cheap"\n'
    (tmp_path / "shop.py").write_text("def price(): return 'dear'\n")
    child.expect_exact("shop.py changed")
    child.expect_exact("takes jobs from default")
    assert naq("enqueue", "shop:price", "--wait", NAQ_NATS_URL=url).stdout == '"dear"\n'
    child.sendintr()
    ended(child, tmp_path)


def test_every_queue_that_comes_up_is_served(tmp_path: Path) -> None:
    child, url = start(tmp_path)
    child.expect_exact("takes jobs from default")
    done = naq("enqueue", "math:sqrt", "4", "--queue", "mail", "--timeout", "30s", NAQ_NATS_URL=url)
    assert done.stdout == "2.0\n"
    child.expect_exact("New queue mail")
    child.expect_exact("takes jobs from default, mail")
    child.sendintr()
    ended(child, tmp_path)


def test_a_module_that_cannot_be_imported_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("raise RuntimeError('no luck')\n")
    child, _ = start(tmp_path, "shop")
    child.expect_exact("no luck")
    child.expect_exact("will start again when a file changes")
    (tmp_path / "shop.py").write_text("")
    child.expect_exact("takes jobs from default")
    child.kill(signal.SIGTERM)
    ended(child, tmp_path)


def test_a_worker_that_is_killed_is_started_again(tmp_path: Path) -> None:
    child, url = start(tmp_path, "--no-reload")
    child.expect_exact("takes jobs from default")
    naq("enqueue", "os:abort", NAQ_NATS_URL=url)
    child.expect(r"worker ended with code -\d+; restarting it")
    child.expect_exact("takes jobs from default")
    child.sendintr()
    ended(child, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a killed process")
def test_nothing_outlives_it_when_it_is_killed(tmp_path: Path) -> None:
    child, _ = start(tmp_path)
    child.expect_exact("takes jobs from default")
    assert processes_marked(str(tmp_path))
    child.kill(signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 10
    while (left := processes_marked(str(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_cleanly_too(tmp_path: Path, number: signal.Signals) -> None:
    child, _ = start(tmp_path)
    child.expect_exact("takes jobs from default")
    child.kill(number)
    ended(child, tmp_path)


def test_it_goes_on_under_nohup_when_the_terminal_is_closed(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the child inherits it
    try:
        child, url = start(tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    child.expect_exact("takes jobs from default")
    child.kill(signal.SIGHUP)
    assert naq("workers", "-q", NAQ_NATS_URL=url).stdout.strip()
    child.kill(signal.SIGTERM)
    ended(child, tmp_path)


def test_jobs_are_kept_where_that_was_asked_for(tmp_path: Path) -> None:
    for expected in ("", "1"):
        child, url = start(tmp_path, "--headless", "--persist", str(tmp_path / "kept"))
        assert naq("job", "list", "-q", NAQ_NATS_URL=url).stdout.strip() == expected
        naq("enqueue", "math:sqrt", "2", "--job-id", "1", NAQ_NATS_URL=url)
        child.sendintr()
        child.expect_exact("Jobs are kept in")
        child.wait()


def test_its_lines_have_a_coloured_prefix(tmp_path: Path) -> None:
    child, _ = start(tmp_path)
    child.expect_exact("takes jobs")
    shown = child.before
    child.sendintr()
    ended(child, tmp_path)
    assert "\x1b[36mworker" in shown
    assert "worker    | " in plain(shown)


def test_a_taken_port_that_was_asked_for_is_refused(nats_server: EmbeddedServer) -> None:
    done = naq("dev", "--nats-port", str(nats_server.port))
    assert done.returncode == 1
    assert "--nats-port 0" in done.stderr
