"""The audit trail, from the terminal: every command that changes something is in it."""

import getpass
import json
import socket
from typing import Any

from tests.cli.commands import naq
from tests.cli.test_jobs import enqueue


def entries(*words: str, **here: Any) -> list[dict[str, Any]]:
    done = naq("audit", *words, "--json", **here)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["entries"]
    return found


def test_what_is_done_is_in_the_trail_with_what_came_of_it(here: dict[str, Any]) -> None:
    assert entries(**here) == []
    job_id = enqueue("math:sqrt", "2", "--queue", "mail", **here)
    assert naq("job", "cancel", job_id, "--reason", "why not", **here).returncode == 0
    assert naq("job", "cancel", job_id, **here).returncode == 7
    assert naq("job", "retry", "nobody", **here).returncode == 5
    found = entries(**here)
    assert [(each["action"], each["target"], each["outcome"]) for each in found] == [
        ("retry-job", "nobody", "refused"),
        ("cancel-job", job_id, "refused"),
        ("cancel-job", job_id, "done"),
    ]
    assert found[2]["details"] == {"reason": "why not"}
    assert {(each["by"], each["how"]) for each in found} == {(f"{getpass.getuser()}@{socket.gethostname()}", "command line")}


def test_every_command_that_changes_something_is_in_it(here: dict[str, Any]) -> None:
    held = enqueue("math:sqrt", "2", "--in", "1h", **here)
    enqueue("math:sqrt", "3", **here)
    commands = [
        ("reschedule-job", ["job", "reschedule", held, "--in", "2h"]),
        ("run-job", ["job", "run-now", held]),
        ("cancel-jobs", ["job", "cancel", "queue:default", "--yes"]),
        ("retry-job", ["job", "retry", held]),
        ("delete-jobs", ["job", "delete", "state:cancelled", "--yes"]),
        ("pause-queue", ["queue", "pause", "default", "--until", "1h"]),
        ("resume-queue", ["queue", "resume", "default"]),
        ("limit-queue", ["queue", "limit", "default", "3"]),
        ("policy-queue", ["queue", "policy", "default", "--key-limit", "3"]),
        ("purge-queue", ["queue", "purge", "default", "--yes"]),
        ("create-schedule", ["schedule", "add", "math:sqrt", "4", "--every", "1h", "--id", "hourly"]),
        ("pause-schedule", ["schedule", "pause", "hourly"]),
        ("resume-schedule", ["schedule", "resume", "hourly"]),
        ("trigger-schedule", ["schedule", "trigger", "hourly"]),
        ("delete-schedule", ["schedule", "remove", "hourly", "--yes"]),
    ]
    for _, words in commands:
        done = naq(*words, **here)
        assert done.returncode == 0, done.stderr
    found = entries(**here)
    assert [each["action"] for each in reversed(found)] == [action for action, _ in commands]
    assert {each["outcome"] for each in found} == {"done"}
    assert [each["target"] for each in found if each["action"] == "delete-jobs"] == ["state:cancelled"]
    assert naq("workflow", "cancel", "nothing", "--yes", **here).returncode == 5
    assert naq("workflow", "retry", "nothing", **here).returncode == 5
    assert naq("workers", "stop", "nobody", **here).returncode == 5


def test_it_is_filtered_and_paged(here: dict[str, Any]) -> None:
    for queue in ("a", "b", "c"):
        naq("queue", "pause", queue, **here)
    naq("queue", "resume", "b", **here)
    assert [each["target"] for each in entries("--action", "pause-queue", **here)] == ["c", "b", "a"]
    assert [each["action"] for each in entries("--target", "b", "--kind", "queue", **here)] == ["resume-queue", "pause-queue"]
    assert entries("--by", "nobody", **here) == []
    page = json.loads(naq("audit", "-n", "3", "--json", **here).stdout)
    rest = json.loads(naq("audit", "--cursor", page["cursor"], "--json", **here).stdout)
    assert [each["target"] for each in page["entries"] + rest["entries"]] == ["b", "c", "b", "a"]
    assert naq("audit", "--cursor", "x", **here).returncode == 2
    assert "pause-queue\tc\tdone" in naq("audit", **here).stdout
