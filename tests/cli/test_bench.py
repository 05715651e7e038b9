"""naq bench: figures of a real server, and nothing left on it."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from naq_cli._errors import CommandError
from naq_cli.bench import lab
from naq_core import Connection, Settings
from tests.cli.commands import naq, started
from tests.support.eventually import eventually

FIGURES = {
    "enqueue, all in one call": "jobs/s",
    "enqueue, each awaited": "jobs/s",
    "drain": "jobs/s",
    "sleep 50 ms": "jobs/s",
    "round trip, p50": "ms",
    "round trip, p99": "ms",
}


async def streams_of_benchmarks(settings: Settings) -> list[str]:
    """The streams in the namespaces of benchmarks that this test has started."""
    names: list[str] = []
    async with Connection(settings, name="test") as connection:
        while page := (await connection.api("STREAM.NAMES", {"offset": len(names)}))["streams"]:
            names += page
    return [name for name in names if f"{settings.namespace}-bench" in name]


async def test_every_measure_has_its_figures_and_nothing_is_left(settings: Settings, here: dict[str, Any]) -> None:
    done = naq("bench", "-n", "40", "--reps", "2", "-c", "4", "--workers", "2", "--json", **here)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {each["figure"]: each["unit"] for each in report["figures"]} == FIGURES
    assert all(0 < each["lowest"] <= each["median"] <= each["highest"] for each in report["figures"])
    assert [each["ideal"] for each in report["figures"] if each["figure"] == "sleep 50 ms"] == [160]
    assert (report["repetitions"], report["concurrency"], report["workers"]) == (2, 4, 2)
    assert await streams_of_benchmarks(settings) == []


async def test_the_settings_of_the_user_hold_but_not_those_that_would_keep_it_from_running(
    settings: Settings, here: dict[str, Any]
) -> None:
    here |= {"NAQ_JOB_SERIALIZER": "json", "NAQ_ALLOWED_FUNCTIONS": "shop.*", "NAQ_SIGNING_KEY": "k" * 32, "NAQ_WORKERS": "3"}
    done = naq("bench", "drain", "round-trip", "-n", "20", "--reps", "1", **here)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == ["drain", "round trip, p50", "round trip, p99"]
    assert await streams_of_benchmarks(settings) == []


async def test_what_is_chosen_is_a_table(here: dict[str, Any]) -> None:
    done = naq("bench", "enqueue", "-n", "10", "--reps", "1", **here)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["figure", *list(FIGURES)[:2]]


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_ends_it_and_nothing_is_left(
    settings: Settings, here: dict[str, Any], sent: signal.Signals, code: int
) -> None:
    async def one_has_begun() -> None:
        assert await streams_of_benchmarks(settings)

    with started("naq_cli", "bench", "sleep", "-n", "20000", "-c", "1000", "--reps", "1000", **here) as process:
        await eventually(one_has_begun)
        process.send_signal(sent)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert await streams_of_benchmarks(settings) == []


async def test_a_worker_that_ends_is_an_error_and_nothing_is_left(
    settings: Settings, here: dict[str, Any], tmp_path: Path
) -> None:
    broken = tmp_path / "naq_worker"
    broken.mkdir()
    (broken / "__init__.py").touch()
    (broken / "__main__.py").write_text("import sys\nsys.exit('no room for a worker')\n")
    done = naq("bench", "drain", "-n", "10", PYTHONPATH=str(tmp_path), **here)
    assert done.returncode == 1
    assert done.stderr == "naq bench: a worker ended with exit code 1: no room for a worker\n"
    assert await streams_of_benchmarks(settings) == []


async def test_jobs_that_die_do_not_keep_it_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "STALLED_SECONDS", 0.05)
    with pytest.raises(CommandError, match="7 of 10 are left"):
        await lab.until_all(lambda: 3, 10)


@pytest.mark.parametrize("words", ["--reps 0", "-n 0", "-c -1", "--workers 0", "everything"])
def test_a_wrong_size_is_refused(here: dict[str, Any], words: str) -> None:
    done = naq("bench", *words.split(), **here)
    assert done.returncode == 2
    assert done.stderr.startswith("naq bench: Invalid value")
