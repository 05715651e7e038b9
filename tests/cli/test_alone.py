"""naq-cli beside naq-core alone: everything but the services works."""

import subprocess
import sys
from typing import Any

import pytest

from tests.cli.commands import environment

SIBLINGS = ("naq_client", "naq_worker", "naq_scheduler", "naq_dashboard")
ALONE = f"""
import sys
for name in {SIBLINGS!r}:
    sys.modules[name] = None  # as if it were not installed
from naq_cli import _plugins
_plugins.find_plugins = dict
from naq_cli import app
app.main(sys.argv[1:])
"""


def alone(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", ALONE, *words],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        "job list",
        "job cancel state:queued --yes",
        "queue list",
        "queue pause emails --quiet",
        "schedule add math:sqrt 2 --every 5m",
        "schedule list",
        "workflow list",
        "workers",
        "stats",
        "doctor",
        "bench enqueue -n 10 --reps 1",
        "setup emails",
        "enqueue math:sqrt 2",
        "config show",
        "completion bash",
        "--help",
    ],
)
def test_what_runs_no_job_needs_no_other_package(here: dict[str, Any], words: str) -> None:
    done = alone(*words.split(), **here)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "package"),
    [
        ("dev", "naq-worker"),
        ("bench", "naq-worker"),
        ("worker emails", "naq-worker"),
        ("scheduler --help", "naq-scheduler"),
        ("dashboard", "naq-dashboard"),
    ],
)
def test_what_needs_another_package_says_which_to_install(here: dict[str, Any], words: str, package: str) -> None:
    done = alone(*words.split(), **here)
    assert done.returncode == 127, done.stderr
    assert f"{package} is not installed" in done.stderr
    assert f"pip install {package}" in done.stderr
    assert done.stdout == ""
