"""The command line, as a user meets it: in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint

import pytest

from naq_cli import app as cli
from naq_core.server import EmbeddedServer
from tests.cli.commands import naq, started, wait_for_line


class TestRoot:
    def test_help_lists_the_commands(self) -> None:
        done = naq("--help")
        assert done.returncode == 0
        assert "worker" in done.stdout
        assert "server" in done.stdout

    def test_without_arguments_it_shows_the_help(self) -> None:
        done = naq()
        assert done.returncode == 0
        assert "Usage: naq" in done.stdout

    def test_the_version_is_that_of_the_distribution(self) -> None:
        done = naq("--version")
        assert done.returncode == 0
        assert done.stdout.startswith("naq 0.")

    def test_a_misspelt_command_gets_a_hint(self) -> None:
        done = naq("wroker")
        assert done.returncode == 2
        assert "worker" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_misspelt_option_gets_a_hint(self) -> None:
        done = naq("server", "--prt", "4222")
        assert done.returncode == 2
        assert done.stderr.startswith("naq server: ")
        assert "--port" in done.stderr

    def test_building_the_commands_imports_none_of_them(self) -> None:
        program = "import sys; from naq_cli.app import build; build(); print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
        assert not {"naq_core", "naq_worker", "nats", "msgspec"} & set(done.stdout.split())


class TestPlugins:
    def test_a_missing_distribution_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(cli, "entry_points", lambda **_: [])
        assert cli.run(["worker", "emails", "--concurrency", "3", "--help"]) == 127
        assert "pip install naq-worker" in capsys.readouterr().err

    def test_a_broken_plugin_is_named(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        boom = EntryPoint("boom", "no_such_module_anywhere:command", cli.ENTRY_POINT_GROUP)
        monkeypatch.setattr(cli, "entry_points", lambda **_: [boom])
        assert cli.run(["--help"]) == 0
        assert cli.run(["boom"]) == 4
        assert "plugin 'boom'" in capsys.readouterr().err

    def test_a_typo_beside_a_broken_plugin_is_no_traceback(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        boom = EntryPoint("boom", "no_such_module_anywhere:command", cli.ENTRY_POINT_GROUP)
        monkeypatch.setattr(cli, "entry_points", lambda **_: [boom])
        assert cli.run(["servr"]) in {2, 4}
        assert capsys.readouterr().err.startswith("naq: ")


class TestServer:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_runs_until_a_signal(self, number: signal.Signals) -> None:
        with started("naq_cli", "server", "--port", "0") as process:
            wait_for_line(process.stdout, "nats://127.0.0.1:")
            wait_for_line(process.stderr, "is ready")
            began = time.monotonic()
            # As Ctrl-C does: to the whole process group.
            os.killpg(process.pid, number)
            _, messages = process.communicate(timeout=15)
        assert process.returncode == 0
        assert "stopped" in messages
        assert "Traceback" not in messages
        assert time.monotonic() - began < 5

    def test_a_taken_port_says_what_to_type(self, nats_server: EmbeddedServer) -> None:
        done = naq("server", "--port", str(nats_server.port))
        assert done.returncode == 1
        assert f"port {nats_server.port}" in done.stderr
        assert "naq server --port 0" in done.stderr

    def test_a_wrong_binary_is_a_usage_error(self) -> None:
        done = naq("server", NATS_SERVER_BIN="/no/such/server")
        assert done.returncode == 2
        assert "NATS_SERVER_BIN" in done.stderr
