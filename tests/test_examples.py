"""Every example runs as a user would run it, and prints what its reader is promised."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from naq_core.platforms import IS_LINUX

EXAMPLES = Path(__file__).parent.parent / "examples"
EXPECTED = {
    "chord.py": [r"chain: 3 words", r"group: \[4, 2, 4\]", r"chord: 10", r"all of it: 10 words in all", r"'succeeded': 5"],
    "dependencies.py": [
        r"dough: 830 double: 830",
        r"cancelled: .*parent \w+ failed \(KeyError: 'saffron'\)",
        r"told: succeeded: 500, dead: KeyError: 'saffron'",
    ],
    "workflow_dag.py": [
        r"failed: .*rates",
        r"states: \{'cancelled': 1, 'dead': 2, 'succeeded': 2\}",
        r"tried again: 3 jobs\ncheapest: 12",
        r"added: .*announce",
    ],
    "approval.py": [
        r"state: held\nwaiting: invoice-7:decided, invoice-8:decided\n",
        r"invoice 7 is paid: looks right \(ada\)\ninvoice 8 is not paid: wrong amount \(ben\)\nsent twice: False\n",
        r"order 3 is shipped, paid by visa\na reminder of invoice 9 is sent\n",
        r"expired: .*signal invoice-9:decided was not sent in time",
    ],
    "audit_trail.py": [
        r"ada cancel-job nobody: refused job nobody: no such job",
        r"ada resume-queue default: done",
        r"ada pause-queue default: done \{'reason': 'the printer is on fire'\}",
    ],
    "batches.py": [
        r"tea 3\nhoney 5\nunicorn failed: .*LookupError: we do not sell unicorns\nbread 5\nmilk 4",
        r"\['one call for 5 jobs'\]",
    ],
    "callbacks.py": [
        r"to shipping: succeeded after 1 attempts: receipt 7",
        r"to support: dead after 2 attempts: ValueError: the card was refused",
        r"to ada: dead after 2 attempts",
        r"to support: cancelled after 0 attempts: out of stock",
    ],
    "cancel.py": [
        r"delayed: before_start",
        r"coroutine: while_running, .*was cancelled: we have seen the coroutine; within a second: (True|False)",
        r"thread: while_running, .*within a second: (True|False)",
        r"process: while_running, .*within a second: (True|False)",
        r"asked to stop: True",  # printed by the job's thread, at any time after its cancellation
        r"again: already_ended\n",
        r"put back: True",
    ],
    "command_line.py": [
        r"root: 1\.414",
        r"exit code 1: .*ValueError",
        r"\('math:sqrt', 'dead'\), \('math:sqrt', 'succeeded'\)",
        r"not ended in time: exit code 124\ncancelled: True\nnot there: exit code 5",
    ],
    "keys.py": [r"one after the other, in order: True", r"small did not wait for big: True", r"at once: 3"],
    "rates.py": [r"all started: True", r"no faster than the rate: True", r"vip had about three times as many: True"],
    "control.py": [r"report fetched at attempt 2", r"it is time \(attempt 1\)", r"cancelled: .*order 17 was withdrawn"],
    "cron.py": [
        r"weekly: \['Mon .* UTC'",
        r"fired: often=\d{8}T\d{6}Z, \d\d\.000000 s past",
        r"refused: .*no such date",
        r"refused: .*cannot be the minute",
        r"refused: .*needs 5 fields",
    ],
    "dashboard_in_litestar.py": [
        r"own page: the shop\nnobody: 401\n",
        r"page of jobs: 200 with the job: True\nall links below /ops/naq: True",
        r"style sheet: 200 text/css; charset=utf-8 public, .*immutable",
        r"live updates: : live\nann may delete it: True\nben may delete it: False",
        r"document is its own: True",
    ],
    "dashboard_in_starlette.py": [
        r"own page: the shop\nnobody: 401\n",
        r"page of queues: 200 with the queue: True\nall links below /naq: True",
        r"its script: 200\nits live updates: : live",
        r'described at: "servers":\[\{"url":"/naq"\}\]',
    ],
    "dead_jobs.py": [
        r"dead: 20\nwhy: FileNotFoundError at attempt 1\nput back: 14\n",
        r"so far: 18\nput back by filter: 18 \{14\}\ndead: 0",
    ],
    "delayed.py": [
        r"state: held\nsoon: it is time",
        r"tomorrow: it is time \(told to run now\)",
        r"next week: it is time \(earlier than planned\)",
        r"cancelled: before_start",
        r"too late: .*expired before it was started",
    ],
    "declared_schedules.py": [
        r"declared in code:scheduled_tasks: scheduled_tasks:beat, fired at least twice",
        r"first start: .*added=\['ada', 'bob'\]",
        r"later start: .*changed=\['ada'\], removed=\['bob'\]",
    ],
    "enqueue_and_result.py": [r"2 \+ 3 = 5", r"HELLO", r"state: succeeded"],
    "enqueue_many.py": [r"atomic: True sum: 285", r"atomic: False \(5,000 jobs", r"sum: 41654167500"],
    "events.py": [
        r"started: .*flaky \(attempt 1\)\nretrying: .*flaky \(attempt 1\)\nstarted: .*\(attempt 2\)\nsucceeded: .*\(attempt 2\)"
    ],
    "gather.py": [
        r"came in: Rome: 4 letters",
        r"came in: .*LookupError: no such city",
        r"in order: Oslo.*\nin order: Rome.*\nin order: .*no such city\nin order: Kyoto",
        r"sum of 2,000: 1999000",
    ],
    "idempotent_enqueue.py": [r"one job: True one result: True", r"attempts: 1"],
    "interval.py": [
        r"every: 0\.5 s, without drift: True",
        r"(  fired for [\d:.]+, \d+ ms late\n){3}",
        r"paused, next: None",
        r"by hand: attic: 21 degrees",
        r"runs again: True",
    ],
    "json_serializer.py": [
        r"allowed: \{'number': 7.0, 'total': 4.0\}",
        r"refused by the client",
        r"refused by the worker",
    ],
    "least_privilege.py": [r"20! = 2432902008176640000", r"a producer cannot purge", r"a viewer cannot enqueue"],
    "large_payloads.py": [
        r"5,000,000 bytes sent, .* same: True",
        r"in the object store: True",
        r"without it: .* takes 5,00\d,\d+",
    ],
    "list_jobs.py": [
        r"__main__:divide\(10, 0\) dead",
        r"10, 0\) dead division by zero",
        r"10, 4\) succeeded 2.5",
        r"next page",
        r"failed: 1",
        r'as JSON: \{"job_id"',
        r"queue: 0 queued",
        r"server: 2\.",
    ],
    "outbox_sqlalchemy.py": [
        r"the relay died: 9\nits job is done: order 17 has its receipt\nenqueued again: 1 left: 0",
        r"receipts: \['receipt of order 17'\]",
    ],
    "outbox_sqlalchemy_async.py": [r"enqueued: 1\ndone: order 17 has its receipt\nrolled back, not enqueued: True"],
    "pause_and_limit.py": [
        r"paused: True and waiting: True\nresumed by hand\nresumed by the server; paused: False",
        r"slots each: [12]\b",
    ],
    "middleware.py": [
        r"\{'result': 'acme: 4\.5 each', 'quick': True\}\nheaders: \{'tenant': 'acme'\}",
        r"'globex: 3 each'",
        r"'nothing to share: division by zero'",
        r"'cleaned up for globex'",
    ],
    "plain_protocol.py": [
        r"new: True\nresult: succeeded json NDI= by operator:mul\nstored: True and again: False\n",
        r"cancelled: True and again: False\nits record: not needed and it still waits: False",
    ],
    "queue_patterns.py": [r"ada has 7\.0\ngrace has 7\.0", r"\['cust-\*'\] now means cust-grace"],
    "priorities.py": [r"first 30 are high", r"last 30 are low", r"to the end: True", r"three of four were mail: True"],
    "process_jobs.py": [r"same process: False", r"primes: \[168, 1229\]", r"killed: "],
    "progress_and_logs.py": [
        r"\d+ of 20 \(baking\)",
        r"WARNING: loaf 5 is rather dark",
        r"INFO: the oven is off",
        r"result, as a preview: 20",
    ],
    "progress.py": [r"[1-5] of 5: loaf [1-5] is out", r"job bread on queue 'default', attempt 1"],
    "resources.py": [
        r"the stock is opened\nthe stock is closed\n",
        r"sale 1: bread, 1 left\nsale 2: cake, 0 left\nrefused: .*no cake left\nsale 3: bread, 0 left\nsale 1: cake, 99 left",
    ],
    "retries.py": [
        r"done at attempt 3",
        r"attempt 2: ConnectionError: no answer",
        r"not retried: .*the input is wrong",
    ],
    "signing.py": [r"signed: 6", r"unsigned: .*SignatureError: .* is not signed", r"while the key is changed: 24"],
    "sync_client.py": [r"2 \+ 3 = 5 state: succeeded", r"doubled: \[0, 2, 4\]", r"Hello, Ada!"],
    "task_decorator.py": [r"'Welcome' sent to ada", r"'Hello' sent to bob", r"called here: 'Hello' sent to carol"],
    "time_zones.py": [
        r"skipped .*: 29 Mar 03:00\+0200, 30 Mar 02:30\+0200",
        r"repeated .*: 25 Oct 02:30\+0200, 26 Oct 02:30\+0100",
        r"hourly .*: 25 Oct 02:00\+0200, 25 Oct 02:00\+0100, 25 Oct 03:00\+0100",
        r"half .*: 04 Oct 02:30\+1100, 05 Oct 02:15\+1100",
    ],
    "timeouts.py": [r"the attempt was stopped: ", r"not ended yet, state: (running|queued)", r"later: finished"],
    "tracing.py": [
        r"trace (\w+): enqueue default \(UNSET\)\n(.*\n)*trace \1: POST /orders \(UNSET\)\n",
        r"trace (\w+): charge the card \(UNSET\)\ntrace \1: process default \(UNSET\)\n",
        r"trace (\w+): POST /orders (.*\n)*trace \1: process default",
    ],
    "throttle.py": [
        r"new: \[True, False, False, False, False\] results: \{'fresh'\}",
        r"hello ada \(en\)\nhello grace \(de\)\nnot again today: True",
    ],
    "unique.py": [
        r"refused: job unique=report-7",
        r"new: False result: report 7, version 1",
        r"after its end: report 7, version 4 same id: True",
        r"replaced: report 8, version 2 for both: True",
        r"of ten calls: \{'report 9, version 10'\}",
    ],
    "worker_in_program.py": [r"connected\ndisconnected\na found in the database\nb found in"],
}
WORKER_LOG = re.compile(r"^\S+Z (?:WARNING|ERROR) naq_worker\.jobs: job .*\n(?:(?!\d{4}-).*\n)*", re.MULTILINE)
"""What a worker logs of the jobs that fail in an example."""
# Modules the examples import.
NOT_PROGRAMS = {
    "hook_tasks.py",
    "json_tasks.py",
    "local.py",
    "scheduled_tasks.py",
    "serving.py",
    "shop_middleware.py",
    "shop_resources.py",
    "priority_tasks.py",
}

RUNS_A_JOB_AND_WAITS = """
import math
from local import naq
from naq_client import SyncQueue
with naq(), SyncQueue() as queue:
    print(queue.enqueue(math.isqrt, 4).result(), flush=True)
    input()
"""


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("NAQ_", "NATS_"))}


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment(), check=False)


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} - NOT_PROGRAMS == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example_prints_what_it_promises(name: str) -> None:
    done = run(EXAMPLES / name)
    assert done.returncode == 0, done.stderr
    for pattern in EXPECTED[name]:
        assert re.search(pattern, done.stdout), f"{pattern!r} is not in\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in WORKER_LOG.sub("", done.stderr)


@pytest.mark.parametrize(("folder", "count"), [("testing", 3), ("tutorial", 2)])
def test_the_examples_of_tests_pass(folder: str, count: int) -> None:
    command = [sys.executable, "-m", "pytest", "-q", str(EXAMPLES / folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment(), check=False)
    assert done.returncode == 0, done.stdout
    assert f"{count} passed" in done.stdout


def test_the_demo_counts_every_word_once(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_text("apple Apple banana\n", encoding="utf-8")
    (tmp_path / "deep" / "b.md").write_text("apple cherry", encoding="utf-8")
    (tmp_path / "c.bin").write_bytes(b"apple apple")
    done = run(EXAMPLES / "wordcount" / "demo.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "5 words in 2 files" in done.stdout
    rows = re.findall(r"^\s+\d+\s+(\w+)\s+(\d+) ", done.stdout, re.MULTILINE)
    assert rows[0] == ("apple", "3")
    assert set(rows) == {("apple", "3"), ("banana", "1"), ("cherry", "1")}


def test_the_demo_says_when_there_is_nothing_to_count(tmp_path: Path) -> None:
    done = run(EXAMPLES / "wordcount" / "demo.py", str(tmp_path))
    assert done.returncode == 2
    assert "no text files" in done.stderr


STAGES = ["Looking for", "Counting the words", "enqueued"]


@pytest.mark.parametrize(
    ("line", "number"), [*((line, signal.SIGINT) for line in STAGES), ("enqueued", signal.SIGTERM), ("enqueued", signal.SIGHUP)]
)
def test_the_demo_leaves_nothing_behind_when_it_is_interrupted(line: str, number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole process group, after the named line of the output."""
    for index in range(3000):
        (tmp_path / f"{index}.txt").write_text("word " * 200, encoding="utf-8")
    mark = secrets.token_hex(8)
    marked = {**environment(), "TMPDIR": str(tmp_path), "NAQ_TEST_MARK": mark}
    command = [sys.executable, str(EXAMPLES / "wordcount" / "demo.py"), str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=marked, start_new_session=True) as demo:
        assert demo.stdout is not None
        while line not in (shown := demo.stdout.readline()):
            assert shown, "the demo ended before"
        os.killpg(demo.pid, number)
        _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in errors
    assert_all_end(mark)
    assert list(tmp_path.glob("naq-server-*")) == []


@pytest.mark.skipif(not IS_LINUX, reason="ends with a killed parent on Linux only")
def test_the_worker_and_the_server_of_an_example_end_with_it() -> None:
    mark = secrets.token_hex(8)
    marked = {**environment(), "NAQ_TEST_MARK": mark}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", RUNS_A_JOB_AND_WAITS], cwd=EXAMPLES, stdin=pipe, stdout=pipe, env=marked
    ) as example:
        assert example.stdout is not None
        assert example.stdout.readline() == b"2\n"
        assert len(processes_marked(mark)) == 3
        example.kill()
    assert_all_end(mark)


def assert_all_end(mark: str) -> None:
    """Fail if processes whose environment carries the mark are left after a while."""
    deadline = time.monotonic() + 60
    while (left := processes_marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def processes_marked(mark: str) -> list[str]:
    """Return the command lines of processes whose environment carries the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"NAQ_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " "))
        except OSError:
            continue  # it has ended, or is not ours
    return found
