"""The command line, as a user meets it: in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from naq_cli import app as cli
from naq_cli._catalog import ALIASES, COMMANDS
from naq_cli._plugins import Plugin, find_plugins, own_version
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
        for words in (["version"], ["worker", "--version"], ["job", "list", "--version"]):
            assert naq(*words).stdout == done.stdout

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
        loaded = modules_after("from naq_cli.app import build; build()")
        assert not {"naq_core", "naq_worker", "nats", "msgspec", "litestar"} & loaded

    @pytest.mark.parametrize("words", [[], ["--help"], ["--version"], ["wroker"]])
    def test_the_help_and_the_version_import_next_to_nothing(self, words: list[str]) -> None:
        loaded = modules_after(f"from naq_cli.app import run; run({words!r})")
        assert not {"naq_core", "nats", "msgspec", "cyclopts", "rich", "litestar", "asyncio", "importlib.metadata"} & loaded

    def test_no_command_imports_another_distribution_than_the_core(self) -> None:
        names = [name for name, command in COMMANDS.items() if command.target]
        assert len(names) > 15
        calls = "; ".join(f"assert run([{name!r}, '--help']) == 0" for name in names)
        loaded = modules_after(f"from naq_cli.app import run; {calls}")  # none of them all: none of each
        assert not {"naq_client", "naq_worker", "naq_scheduler", "naq_dashboard", "litestar"} & loaded

    @pytest.mark.parametrize("alias", sorted(ALIASES))
    def test_an_alias_stands_for_a_command_that_exists(self, alias: tuple[str, ...]) -> None:
        done = naq(*alias, "--help")
        assert done.returncode == 0, done.stderr
        assert f"Usage: naq {ALIASES[alias][0]}" in done.stdout

    def test_a_flag_that_is_off_needs_no_default_and_no_opposite_in_the_help(self) -> None:
        shown = naq("worker", "--help").stdout
        assert "-c" in shown
        assert "--no-burst" not in shown
        assert "[default: ]" not in shown
        assert "[default: False]" not in shown

    def test_a_short_option_of_a_service_works(self) -> None:
        done = naq("worker", "-c", "many")
        assert done.returncode == 2
        assert "-c" in done.stderr

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_a_shell_completes_commands(self, shell: str) -> None:
        done = naq("completion", shell)
        assert done.returncode == 0, done.stderr
        for word in ("enqueue", "retry", "worker"):
            assert word in done.stdout

    def test_help_comes_with_colours_only_where_they_are_wanted(self) -> None:
        assert "\033[" not in naq("--help").stdout
        assert "\033[" in naq("--help", NO_COLOR="", FORCE_COLOR="1").stdout

    def test_help_imports_nothing_that_is_slow(self) -> None:
        """250 ms are promised; NATS, the parser or rich would not fit."""
        loaded = modules_after("from naq_cli.app import run; run(['--help'])")
        assert "naq_cli.app" in loaded
        assert {"nats", "cyclopts", "rich", "msgspec", "asyncio", "naq_core.settings"} & loaded == set()


def modules_after(program: str) -> set[str]:
    """Return the modules a program has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print('LOADED', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return set(done.stdout.rpartition("LOADED ")[2].split())


def boom(**changes: str) -> dict[str, Plugin]:
    """Stand in for an installed distribution whose command cannot be imported."""
    plugin = Plugin("boom", "no_such_module_anywhere:command", "broken-x", "0.1", "It is broken.")._replace(**changes)
    return {plugin.name: plugin}


class TestPlugins:
    def test_a_missing_distribution_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(cli, "find_plugins", dict)
        assert cli.run(["worker", "emails", "--concurrency", "3", "--help"]) == 127
        assert "pip install naq-worker" in capsys.readouterr().err
        assert cli.run(["--help"]) == 0
        assert "(pip install naq-worker)" in capsys.readouterr().out

    def test_a_broken_plugin_is_named(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(cli, "find_plugins", boom)
        assert cli.run(["--help"]) == 0
        assert "It is broken." in capsys.readouterr().out
        assert cli.run(["boom"]) == 4
        said = capsys.readouterr().err
        assert said.startswith("naq: plugin 'boom' (broken-x 0.1) cannot be imported: ModuleNotFoundError")
        assert "pip install --force-reinstall broken-x" in said

    def test_a_broken_plugin_takes_no_other_command_with_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(cli, "find_plugins", boom)
        assert cli.run(["config", "show", "--json"]) == 0
        assert cli.run(["servr"]) == 2
        assert capsys.readouterr().err == "naq: there is no command 'servr'. Did you mean server? See: naq --help\n"

    def test_a_plugin_cannot_replace_a_command_of_naq(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "find_plugins", lambda: boom(name="config"))
        assert cli.run(["config", "show", "--json"]) == 0

    def test_a_plugin_is_found_where_it_is_installed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        info = tmp_path / "extra_thing-1.2.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text("[console_scripts]\nx = y:z\n\n[naq.commands]\nHello = extra.thing:run\n")
        (info / "METADATA").write_text("Metadata-Version: 2.4\nSummary: Says hello.\n\nSummary: not this\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        assert find_plugins()["Hello"] == Plugin("Hello", "extra.thing:run", "extra-thing", "1.2", "Says hello.")

    def test_the_finder_agrees_with_importlib_metadata(self) -> None:
        known = {(point.name, point.value) for point in entry_points(group="naq.commands")}
        assert {(plugin.name, plugin.target) for plugin in find_plugins().values()} == known
        assert own_version() == version("naq-cli")


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
        assert time.monotonic() - began < 9  # a server that does not end by itself is killed after 10 s

    def test_a_taken_port_says_what_to_type(self, nats_server: EmbeddedServer) -> None:
        done = naq("server", "--port", str(nats_server.port))
        assert done.returncode == 1
        assert f"port {nats_server.port}" in done.stderr
        assert "naq server --port 0" in done.stderr

    def test_a_wrong_binary_is_a_usage_error(self) -> None:
        done = naq("server", NATS_SERVER_BIN="/no/such/server")
        assert done.returncode == 2
        assert "NATS_SERVER_BIN" in done.stderr
