"""The comparison with other task queues: its own part, which needs none of them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "tests.benchmarks.peers", "--only", "naq", "--reps", "1", "--scale", "0.001"]


def test_naq_is_measured_without_the_others() -> None:
    measures = [each for name in ("drain", "latency") for each in ("--measure", name)]
    done = subprocess.run([*COMMAND, *measures], cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    rows = dict(re.findall(r"^\| (.+?) \| ([\d.,]+) \[[^|]+\] \|$", done.stdout, re.MULTILINE))
    expected = {"drain, results kept, jobs/s", "round trip, p50, ms"}
    assert expected <= rows.keys(), done.stdout
    assert "- naq (naq-core " in done.stdout
