"""Installs the wheels as users do, into environments that know nothing of the source tree."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.release.version import ReleaseError

UV = os.environ.get("HATCH_UV", "uv")
ALONE = """
import importlib, sys
from importlib.metadata import version
import naq_core
name, expected = sys.argv[1:]
module = importlib.import_module(name)
assert module.__version__ == version(name) == version("naq_core") == expected, (module.__version__, version(name))
assert "site-packages" in naq_core.__file__, naq_core.__file__
"""


class Environment:
    """A virtual environment of its own.

    Args:
        folder: Where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        run([UV, "venv", "--quiet", "--python", sys.executable, str(folder)])

    def install(self, *what: str) -> None:
        """Install wheels and what they need, and check that everything fits together."""
        run([UV, "pip", "install", "--quiet", "--python", str(self.python), *what])
        run([UV, "pip", "check", "--quiet", "--python", str(self.python)])

    def run(self, *arguments: str, cwd: Path) -> str:
        """Run Python there and return what it prints."""
        return run([str(self.python), *arguments], cwd=cwd)


def run(command: Sequence[str], cwd: Path | None = None, *, shown: bool = False) -> str:
    """Run a command without the settings of this process, and return what it prints.

    Args:
        command: The program and its arguments.
        cwd: Where it runs.
        shown: It takes long, so let it print here instead.

    Raises:
        ReleaseError: It failed.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NAQ_", "NATS_", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=not shown, text=True, check=False)
    if done.returncode:
        printed = " (see above)" if shown else f":\n{done.stdout}{done.stderr}"
        raise ReleaseError(f"{' '.join(command)}\nfailed with code {done.returncode}{printed}")
    return done.stdout or ""


def alone(root: Path, folder: Path, name: str, version: str, wheels: Sequence[Path]) -> Environment:
    """Install one package with naq-core and nothing else of NAQ; import all of it, and run its command.

    Args:
        root: The repository.
        folder: Where the environment is made.
        name: The import name.
        version: That it has to have.
        wheels: Of the package and of naq-core.
    """
    made = Environment(folder)
    made.install(*map(str, wheels))
    made.run("-c", ALONE, name, version, cwd=folder)
    made.run("-m", "tests.import_all", name, cwd=root)
    if name in {"naq_worker", "naq_scheduler", "naq_dashboard"}:
        made.run("-m", name, "--help", cwd=folder)
    if name == "naq_cli" and version not in (said := run([str(folder / "bin" / "naq"), "--version"], cwd=folder)):
        raise ReleaseError(f"naq --version says {said!r}, not {version}")
    return made


def examples(root: Path, folder: Path, wheels: Sequence[Path]) -> None:
    """Run the examples, and the programs that embed NAQ, against the wheels."""
    made = Environment(folder)
    made.install(*map(str, wheels), "--group", f"{root / 'pyproject.toml'}:test")
    made.run("-c", ALONE, "naq_client", wheels[0].name.split("-")[1], cwd=folder)
    tests = ["tests/test_examples.py", "tests/test_embedding.py"]
    several = ["-n", "auto", "--dist", "worksteal"]
    run([str(made.python), "-m", "pytest", "-q", *several, "-p", "no:cacheprovider", *tests], root, shown=True)
