"""naq-cli beside naq-core alone: everything but the services works."""

import subprocess
from typing import Any

import pytest

from tests.cli.commands import environment
from tests.cli.zygote import Zygote

SIBLINGS = ("naq_client", "naq_worker", "naq_scheduler", "naq_dashboard")
ALONE = Zygote(f"""
import sys
for name in {SIBLINGS!r}:
    sys.modules[name] = None  # as if it were not installed
from naq_cli import _plugins
_plugins.find_plugins = dict
""")


def alone(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return ALONE.run(words, environment(**variables), None)


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
