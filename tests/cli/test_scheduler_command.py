"""The scheduler command, through `naq scheduler` and through `python -m naq_scheduler`."""

import asyncio
import signal
import urllib.request
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import ScheduleNotFoundError
from naq_core.settings import Settings
from tests.cli.commands import run, started, wait_for_line
from tests.support.eventually import eventually

NOBODY = "nats://127.0.0.1:9"
TASKS = """
from naq_client import task

@task(interval=0.2, schedule_id="beat")
def beat(): ...
"""
TOML = """
[[schedules]]
id = "digest"
function = "shop:digest"
cron = "@daily"
"""


@pytest.mark.parametrize(
    "start", [("naq_cli", "scheduler"), ("naq_scheduler",)], ids=["naq scheduler", "python -m naq_scheduler"]
)
class TestScheduler:
    async def test_it_sets_up_what_is_declared_and_fires_it(
        self, start: tuple[str, ...], settings: Settings, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shop_tasks.py").write_text(TASKS)
        (tmp_path / "naq.toml").write_text(TOML)
        monkeypatch.chdir(tmp_path)
        options = ("--imports", "shop_tasks", "--http-port", "0", "--instance-id", "first")
        with started(*start, *options, NAQ_NATS_URL=settings.nats_url, NAQ_NAMESPACE=settings.namespace) as process:
            said = await asyncio.to_thread(wait_for_line, process.stderr, "is the leader")
            assert "scheduler first-" in said
            address = said.partition("health and metrics at ")[2].split()[0]

            async def has_fired() -> None:
                assert (await queue.get_schedule("beat")).view.runs > 1

            await eventually(has_fired)
            assert (await queue.get_schedule("digest")).view.origin == "naq.toml"
            assert await asyncio.to_thread(fetch, f"{address}/readyz") == "leader\n"
            process.send_signal(signal.SIGTERM)
            said += (await asyncio.to_thread(process.communicate, timeout=20))[1]
        assert process.returncode == 0, said
        assert "Traceback" not in said

    async def test_what_is_declared_no_more_is_removed_at_the_next_start(
        self, start: tuple[str, ...], settings: Settings, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for tasks in (TASKS, ""):
            (tmp_path / "shop_tasks.py").write_text(tasks)
            variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
            with started(*start, "--no-enable-ha", "--imports", "shop_tasks", **variables) as process:
                await asyncio.to_thread(wait_for_line, process.stderr, "started at")
                process.send_signal(signal.SIGINT)
                await asyncio.to_thread(process.communicate, timeout=20)
            if tasks:
                assert (await queue.get_schedule("beat")).view.origin == "code:shop_tasks"
        with pytest.raises(ScheduleNotFoundError):
            await queue.get_schedule("beat")

    def test_no_server_names_the_address(self, start: tuple[str, ...]) -> None:
        done = run(*start, NAQ_NATS_URL=NOBODY, NAQ_PUBLISH_BUDGET="1s")
        assert done.returncode == 3, done.stderr
        assert f"naq scheduler: cannot reach NATS at {NOBODY} (from NAQ_NATS_URL)" in done.stderr
        assert "Traceback" not in done.stderr

    def test_wrong_settings_and_schedules_are_usage_errors(
        self, start: tuple[str, ...], tmp_path: Path, settings: Settings
    ) -> None:
        done = run(*start, NAQ_SCHEDULER_TTL="soon")
        assert done.returncode == 2
        assert "NAQ_SCHEDULER_TTL" in done.stderr
        (tmp_path / "naq.toml").write_text(TOML.replace("@daily", "0 0 31 2 *"))
        done = run(*start, cwd=tmp_path, NAQ_NATS_URL=settings.nats_url, NAQ_NAMESPACE=settings.namespace)
        assert done.returncode == 2, done.stderr
        assert "entry 1 (digest)" in done.stderr
        assert "no such date" in done.stderr

    def test_a_module_that_cannot_be_imported_is_named(self, start: tuple[str, ...], tmp_path: Path) -> None:
        (tmp_path / "wrong.py").write_text("from naq_client import task\n@task(cron='x')\ndef f(): ...\n")
        done = run(*start, "--imports", "wrong", cwd=tmp_path)
        assert done.returncode == 4
        assert "cannot import wrong" in done.stderr
        assert "cron expression 'x'" in done.stderr


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())
