"""Run the tests of a module against every small change of it: `python -m tests.mutants transitions retry`.

Each change is made in a copy of the package, never in the working tree. A change that no test notices survives: write a test, or
add it to `survivors.txt` with the reason why it does not matter.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutants.changes import Mutant, mutants

ROOT = Path(__file__).parents[2]
OPTIONS = ["-x", "-q", "-n0", *(f"-pno:{plugin}" for plugin in ("anyio", "cacheprovider", "faker", "randomly", "schemathesis"))]
"""Plugins that no target needs would take half of the time."""
SURVIVORS = Path(__file__).with_name("survivors.txt")
COPY = ROOT / ".hatch" / "mutants"
PATIENCE = 10.0
"""How many times as long as without a change the tests may take; what hangs is noticed."""
SHORTEST = 30.0


class Target(NamedTuple):
    """A module and the tests that are to notice its changes, the fastest first."""

    source: str
    tests: Sequence[str]


CORE, WORKER, SCHEDULER = "naq-core/src/naq_core", "naq-worker/src/naq_worker", "naq-scheduler/src/naq_scheduler"
TARGETS = {
    "transitions": Target(f"{CORE}/transitions.py", ["unit/core/test_transitions.py"]),
    "retry": Target(f"{CORE}/retry.py", ["unit/core/test_retry.py"]),
    "cron": Target(f"{CORE}/cron.py", ["unit/core/test_cron.py", "unit/core/test_cron_oracle.py"]),
    "plan": Target(f"{SCHEDULER}/_plan.py", ["unit/scheduler/test_plan.py"]),
    "fire": Target(f"{SCHEDULER}/_fire.py", ["integration/test_firing.py"]),
    "spec": Target(f"{CORE}/schedules/spec.py", ["unit/core/test_schedule_spec.py"]),
    "document": Target(f"{CORE}/schedules/document.py", ["unit/core/test_schedule_document.py"]),
    "suspects": Target(f"{WORKER}/_suspects.py", ["unit/worker/test_suspects.py"]),
    "claim": Target(f"{WORKER}/_claim.py", ["integration/test_claims.py"]),
    "settle": Target(f"{WORKER}/_settle.py", ["integration/test_settle.py"]),
    "writer": Target(f"{WORKER}/_record_writer.py", ["integration/test_record_writer.py"]),
    "layers": Target(f"{CORE}/layers.py", ["unit/core/test_layers.py"]),
    "within": Target(f"{CORE}/enqueue/within.py", ["integration/test_middleware_enqueue.py"]),
    "invoke": Target(f"{WORKER}/_invoke.py", ["unit/worker/test_invoke.py"]),
    "fetch": Target(f"{WORKER}/_fetch.py", ["integration/test_fetch.py"]),
}


def known_survivors() -> dict[str, str]:
    """Return the changes that need not be noticed, and why."""
    lines = SURVIVORS.read_text(encoding="utf-8").splitlines()
    pairs = (line.rsplit(" # ", 1) for line in lines if line and not line.startswith("#"))
    return {key.strip(): reason.strip() for key, reason in pairs}


def run_tests(paths: Sequence[str], source_folder: Path, limit: float) -> int | None:
    """Return the exit code of pytest with the packages of a folder in place of the installed ones; None after `limit` seconds.

    A forked child is ready in a fraction of the time that a new interpreter takes to import pytest.
    """
    child = os.fork()
    if child == 0:
        _run_in_child(paths, source_folder)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run_in_child(paths: Sequence[str], source_folder: Path) -> None:
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.path.insert(0, str(source_folder))
    os.environ["PYTHONPATH"] = str(source_folder)
    code = 3
    try:
        code = pytest.main([*OPTIONS, *paths])
    finally:
        os._exit(int(code))


def tried(target: Target, folder: Path, line: int, deadline: float) -> Iterator[tuple[Mutant, str]]:
    """Yield each change, made in a copy in `folder`, with `killed`, `survived` or `not tried`."""
    package = (ROOT / "packages" / target.source).parents
    source_folder = next(parent for parent in package if parent.name == "src")
    copy = folder / source_folder.parent.name
    shutil.copytree(source_folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    changed = copy / (ROOT / "packages" / target.source).relative_to(source_folder)
    original = changed.read_text(encoding="utf-8")
    paths = [str(ROOT / "tests" / each) for each in target.tests]
    begun = time.monotonic()
    if run_tests(paths, copy, 3600) != 0:
        raise SystemExit(f"the tests of {target.source} fail without a change: {' '.join(paths)}")
    limit = max(SHORTEST, PATIENCE * (time.monotonic() - begun))
    stamp = time.time() - 10**6
    for number, mutant in enumerate(mutants(original)):
        if mutant.line < line or time.monotonic() > deadline:
            yield mutant, "not tried"
            continue
        changed.write_text(mutant.source, encoding="utf-8")
        os.utime(changed, (stamp + 2 * number,) * 2)  # bytecode is taken from the cache by time and size
        yield mutant, "survived" if run_tests(paths, copy, limit) == 0 else "killed"


def main() -> int:
    """Return 0 if every change was noticed, or is known not to matter."""
    parser = argparse.ArgumentParser(prog="hatch run mutants", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", choices=[*TARGETS, []], metavar="MODULE", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so many minutes (60)")
    parser.add_argument("--line", type=int, default=1, help="begin at this line of each module, to go on where a run stopped (1)")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    known, surprises = known_survivors(), 0
    COPY.mkdir(parents=True, exist_ok=True)
    for name in arguments.modules or TARGETS:
        counts = dict.fromkeys(("killed", "survived", "not tried"), 0)
        with tempfile.TemporaryDirectory(dir=COPY) as folder:
            for mutant, fate in tried(TARGETS[name], Path(folder), arguments.line, deadline):
                counts[fate] += 1
                key = f"{name} {mutant.key}"
                if fate == "survived" and key not in known:
                    surprises += 1
                    print(f"survived: line {mutant.line}: {key}", flush=True)
                elif fate == "killed" and key in known:
                    print(f"no longer survives: {key}", flush=True)
        print(f"{name}: {', '.join(f'{number} {fate}' for fate, number in counts.items())}", flush=True)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
