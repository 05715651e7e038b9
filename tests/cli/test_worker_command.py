"""The worker command, through `naq worker` and through `python -m naq_worker`."""

import asyncio
import signal
from pathlib import Path

import pytest

from naq_client import Queue, QueuePolicy
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from tests.cli.commands import run, started, wait_for_line

USED_BY_SEVERAL = {"naq_worker.supervisor", "naq_worker._child", "naq_worker._link", "naq_worker._lifespan", "naq_core.health"}
NOBODY = "nats://127.0.0.1:9"


@pytest.mark.parametrize("start", [("naq_cli", "worker"), ("naq_worker",)], ids=["naq worker", "python -m naq_worker"])
class TestWorker:
    async def test_it_runs_the_jobs_of_its_queues(self, start: tuple[str, ...], settings: Settings, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text("def price(count):\n    return count * 7\n")
        async with Queue("emails", settings=settings) as queue:
            job = await queue.enqueue(pow, 2, 5)
            done = await asyncio.to_thread(
                run,
                *start,
                *("--imports", "shop", "emails", "--burst", "--concurrency", "2"),
                cwd=tmp_path,
                NAQ_NATS_URL=settings.nats_url,
                NAQ_NAMESPACE=settings.namespace,
            )
            assert done.returncode == 0, done.stderr
            assert await job.result(timeout=10) == 32

    @pytest.mark.parametrize(("own", "threshold"), [("", 10_000), ("import gc; gc.set_threshold(999)", 999)])
    async def test_it_collects_garbage_less_often_unless_the_application_decides(
        self, start: tuple[str, ...], settings: Settings, tmp_path: Path, own: str, threshold: int
    ) -> None:
        (tmp_path / "own.py").write_text(own)
        variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
        async with Queue("emails", settings=settings) as queue:
            job = await queue.enqueue("gc:get_threshold")
            done = await asyncio.to_thread(run, *start, "--imports", "own", "emails", "--burst", cwd=tmp_path, **variables)
            assert done.returncode == 0, done.stderr
            assert (await job.result(timeout=10))[0] == threshold

    def test_queues_may_have_weights(self, start: tuple[str, ...], settings: Settings) -> None:
        variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
        done = run(*start, "mail=3", "reports", "--burst", cwd=None, **variables)
        assert (done.returncode, "takes jobs from mail, reports," in done.stderr) == (0, True), done.stderr
        for wrong, said in (("mail=many", "'mail=many' is not of the form"), ("mail=0", "the weight of queue 'mail': 0.0")):
            done = run(*start, wrong, cwd=None, **variables)
            assert (done.returncode, said in done.stderr) == (2, True), done.stderr

    def test_sigterm_stops_it_cleanly(self, start: tuple[str, ...], settings: Settings) -> None:
        variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
        with started(*start, "emails", **variables) as process:
            said = wait_for_line(process.stderr, "takes jobs from emails")
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=20)[1]
        assert process.returncode == 0, said
        assert "Traceback" not in said

    def test_no_server_names_the_address_and_where_it_came_from(self, start: tuple[str, ...]) -> None:
        done = run(*start, "emails", NAQ_NATS_URL=NOBODY, NAQ_PUBLISH_BUDGET="1s")
        assert done.returncode == 3, done.stderr
        assert f"naq worker: cannot reach NATS at {NOBODY} (from NAQ_NATS_URL)" in done.stderr
        assert "naq server" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_wrong_setting_is_a_usage_error(self, start: tuple[str, ...]) -> None:
        done = run(*start, "emails", NAQ_ACK_WAIT="soon")
        assert done.returncode == 2
        assert "NAQ_ACK_WAIT" in done.stderr

    def test_a_wrong_queue_name_is_a_usage_error(self, start: tuple[str, ...], nats_server: EmbeddedServer) -> None:
        done = run(*start, "a.b", NAQ_NATS_URL=nats_server.url)
        assert done.returncode == 2, done.stderr
        assert "a.b" in done.stderr

    def test_a_module_that_cannot_be_imported_is_named(self, start: tuple[str, ...], tmp_path: Path) -> None:
        (tmp_path / "broken.py").write_text("raise RuntimeError('no luck')\n")
        done = run(*start, "emails", "--imports", "broken", cwd=tmp_path)
        assert done.returncode == 4
        assert "cannot import broken" in done.stderr
        assert "no luck" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_gives_its_queues_the_policies_of_the_settings_file(workers: str, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "naq.toml"
    variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    command = ("naq_worker", "emails", "--burst", "--workers", workers)
    async with Queue("emails", settings=settings) as queue:
        await queue.set_policy(QueuePolicy(limit=9))
        job = await queue.options(key="customer-7").enqueue(pow, 2, 5)
        file.write_text("[queues.emails]\nkey-limit = 4\n[queues.other]\nlimit = 5\n")
        done = await asyncio.to_thread(run, *command, cwd=tmp_path, **variables)
        assert done.returncode == 0, done.stderr
        assert await job.result(timeout=10) == 32
        assert await queue.policy() == QueuePolicy(limit=9, key_limit=4)
    file.write_text("[queues.emails]\nkey-limit = 0\n")
    done = await asyncio.to_thread(run, *command, cwd=tmp_path, **variables)
    assert done.returncode == 2
    assert "key_limit (from " in done.stderr


async def test_what_only_several_processes_need_is_not_imported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "looking.py").write_text("import sys\n\ndef loaded():\n    return list(sys.modules)\n")
    async with Queue("emails", settings=settings) as queue:
        job = await queue.enqueue("looking:loaded")
        variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace, "NAQ_WORKERS": "1"}
        await asyncio.to_thread(run, "naq_worker", "emails", "--burst", cwd=tmp_path, **variables)
        assert not USED_BY_SEVERAL & set(await job.result(timeout=10))


async def test_several_processes_serve_the_patterns_of_the_settings(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "naq.toml").write_text('worker_queues = ["mail=3", "cust-*"]\n')
    variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    async with Queue("cust-1", settings=settings) as queue:
        job = await queue.enqueue(pow, 2, 5)
        done = await asyncio.to_thread(run, "naq_worker", "--burst", "--workers", "2", cwd=tmp_path, **variables)
        assert done.returncode == 0, done.stderr
        assert await job.result(timeout=10) == 32
