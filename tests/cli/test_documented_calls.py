"""Every call of `naq` in README and docs is one that the parser takes, and the examples that end by themselves are run."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from cyclopts import CycloptsError

from naq_cli import app as cli
from naq_cli._catalog import resolve_alias
from naq_cli._plugins import find_plugins
from naq_core import Settings
from tests.cli.commands import environment
from tests.cli.test_output import LASTING, UGLY
from tests.cli.zygote import ZYGOTE
from tests.conftest import RunWorker
from tests.test_docs import PAGES

CODE = re.compile(r"^```[a-z]*\n.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
GENERAL = {"COMMAND", "…"}
"""Names that stand for any command."""
SHELLS = re.compile(r"[|<>$;&*?`]")
"""What only a shell understands."""


def _code() -> list[str]:
    pages = [page.read_text(encoding="utf-8") for page in PAGES if "adr" not in page.parts]
    return [code for text in pages for code in CODE.findall(text)]


def examples() -> list[str]:
    """Return what is typed at the prompts of code blocks and calls `naq`."""
    lines = [line for code in _code() if code.startswith("```") for line in code.replace("\\\n", " ").splitlines()]
    return sorted({line.removeprefix("$ ") for line in lines if re.match(r"\$ ([^#]*\| )?naq ", line)})


def mentions() -> list[str]:
    """Return the calls between backticks, which may leave arguments out."""
    return sorted({code.strip("`") for code in _code() if code.startswith("`naq ")})


def words_of(call: str) -> list[str]:
    """Return the words behind `naq`: of alternatives the first, without what is optional, without what is the shell's."""
    call = re.sub(r" ?\[[^]]*\]|(?<=\w…)\\?\|\S+|(?<=\w)\\?\|\S+", "", call).replace("SHELL", "bash")
    words = shlex.split(call.rpartition("| naq ")[2] if "| naq " in call and "xargs" not in call else call, comments=True)
    words = words[1:] if words[0] == "naq" else words
    end = next((at for at, word in enumerate(words) if word in {"|", "\\|", ">"}), None)
    return words[:1] + [word.rstrip("…") for word in words[1:end] if word != "…"]


def typed(call: str) -> list[str]:
    """Return the words behind `naq` as a shell gives them to it."""
    return shlex.split(call, comments=True)[1:]


def type_in_shell(call: str, env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-c", call]
    return subprocess.run(
        command, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )


def complaint(words: list[str]) -> str:
    """Return what the parser says against these words."""
    words = resolve_alias(words)
    plugins = find_plugins()
    app = cli.build(words[0], plugins)
    if words[0] in plugins:
        app = cli._with_plugin(app, plugins[words[0]])
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return str(error)
    return ""


def test_every_example_is_a_call_that_the_parser_takes() -> None:
    assert len(examples()) > 20
    assert {call: problem for call in examples() if (problem := complaint(words_of(call)))} == {}


def test_every_mention_is_the_beginning_of_a_call() -> None:
    found = {call: complaint(words) for call in mentions() if (words := words_of(call))[0] not in GENERAL}
    assert len(found) > 50
    assert {call: problem for call, problem in found.items() if problem and "requires an argument" not in problem} == {}


async def test_every_example_that_ends_by_itself_runs(settings: Settings, run_worker: RunWorker, tmp_path: Path) -> None:
    # A measurement of fewer jobs is one as well.
    calls = [call.replace("bench -n 2000", "bench -n 100") for call in examples() if words_of(call)[0] not in LASTING]
    assert any("--json-args -" in call for call in calls)
    (tmp_path / "naq").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m naq_cli "$@"\n')
    (tmp_path / "naq").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    env = environment(NAQ_NATS_URL=settings.nats_url, NAQ_NAMESPACE=settings.namespace, PATH=path, HOME=str(tmp_path))

    def run(call: str) -> str:
        done = type_in_shell(call, env, tmp_path) if SHELLS.search(call) else ZYGOTE.run(tuple(typed(call)), env, tmp_path)
        usual = set(range(4)) if words_of(call)[0] == "check" else {0, 1, 5}
        is_sound = done.returncode in usual and not any(each in done.stderr for each in UGLY)
        return "" if is_sound else f"{call}: {done.returncode} {done.stderr}"

    async with run_worker("default"):
        wrong = [await asyncio.to_thread(run, call) for call in calls]
    assert [each for each in wrong if each] == []
