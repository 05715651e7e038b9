"""Commands that go on: events, stats --watch; and workflows."""

import asyncio
import json
import signal
from typing import Any

import pytest

from naq_client import Queue, chain
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from tests.cli.commands import naq, started, wait_for_line
from tests.cli.terminal import plain, screen, terminal


class TestEvents:
    def test_they_come_as_lines_of_json(self, shop: dict[str, Any]) -> None:
        with started("naq_cli", "events", "--jsonl", "-n", "2", "--no-progress", **shop) as process:
            # The subscription stands when an event arrives: the first job may come too early for it.
            while process.poll() is None:
                naq("enqueue", "shop:price", "3", "--wait", **shop)
            lines = [json.loads(line) for line in process.communicate(timeout=20)[0].splitlines()]
        assert len(lines) == 2
        assert {line["kind"] for line in lines} <= {"started", "succeeded"}
        assert lines[0]["function"] == "shop:price"

    def test_a_pipe_gets_each_line_at_once(self, shop: dict[str, Any]) -> None:
        with started("naq_cli", "events", "--kind", "failed", "--function", "lose", **shop) as process:
            assert wait_for_line(process.stdout, "kind").startswith("at\tkind\tqueue\tjob")
            naq("enqueue", "shop:price", "3", "--wait", **shop)
            done = None
            for _ in range(5):
                done = naq("enqueue", "shop:lose", "luck", "--wait", "-q", **shop)
            assert done is not None
            line = wait_for_line(process.stdout, "failed")
            process.send_signal(signal.SIGINT)
            _, messages = process.communicate(timeout=10)
        assert "shop:lose" in line
        assert process.returncode == 130
        assert "Traceback" not in messages

    def test_a_server_that_restarts_is_said_and_waited_for(self, namespace: str) -> None:
        with EmbeddedServer() as server:
            here: dict[str, Any] = {"NAQ_NATS_URL": server.url, "NAQ_NAMESPACE": namespace}
            with started("naq_cli", "events", "-n", "1", **here) as process:
                wait_for_line(process.stdout, "kind")
                server.restart()
                out, messages = process.communicate(timeout=20)
        assert out.split("\t")[1] == "gap"
        assert f"connection to NATS at {server.url} lost; reconnecting" in messages

    def test_an_unknown_kind_is_refused(self, here: dict[str, Any]) -> None:
        done = naq("events", "--kind", "exploded", **here)
        assert done.returncode == 2
        assert "succeeded" in done.stderr

    def test_a_server_that_is_away_is_exit_code_3(self) -> None:
        assert naq("events", NAQ_NATS_URL="nats://127.0.0.1:9").returncode == 3


class TestStats:
    def test_once_they_are_a_table_or_a_document(self, shop: dict[str, Any]) -> None:
        naq("enqueue", "shop:price", "3", "--wait", **shop)
        document = json.loads(naq("stats", "--json", **shop).stdout)
        assert document["workers"] == 1
        assert document["slots"] == 10
        assert [queue["queue"] for queue in document["queues"]] == ["default"]
        assert naq("stats", **shop).stdout.splitlines()[1].split("\t")[1] == "default"
        shown, code = screen("stats", width=80, **shop)
        assert code == 0
        assert "1 worker, 0 of 10 slots busy" in plain(shown)
        assert max(map(len, plain(shown).splitlines())) <= 80

    def test_watched_they_come_again_and_again(self, shop: dict[str, Any]) -> None:
        done = naq("stats", "--watch", "--interval", "100ms", "-n", "3", "--jsonl", **shop)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        assert [document["per_second"] for document in documents] == [None, 0, 0]
        assert naq("stats", "--watch", "--interval", "often", **shop).returncode == 2

    def test_ctrl_c_ends_the_watch_on_a_terminal(self, shop: dict[str, Any]) -> None:
        child = terminal("stats", "--watch", "--interval", "200ms", **shop)
        child.expect_exact("jobs/s")
        child.sendintr()
        child.wait()
        assert child.exitstatus == 130
        assert "Traceback" not in child.read()


class TestWorkflows:
    async def test_one_is_listed_shown_cancelled_and_retried(self, settings: Settings, here: dict[str, Any]) -> None:
        async with Queue(settings=settings) as queue:
            flow = await chain(queue.call("math:sqrt", 2), queue.call("math:sqrt", 3)).enqueue(queue)
        workflow = flow.workflow_id

        async def run(*words: str) -> Any:
            return await asyncio.to_thread(naq, *words, **here)

        listed = json.loads((await run("workflow", "list", "--json")).stdout)["workflows"]
        assert [(each["workflow_id"], each["total"]) for each in listed] == [(workflow, 2)]
        shown = (await run("workflow", "show", workflow)).stdout
        assert "ended\t0/2" in shown
        assert shown.count("math:sqrt") == 2
        assert (await run("workflow", "cancel", workflow)).returncode == 2
        assert (await run("workflow", "cancel", workflow, "--yes")).stdout.startswith("2 jobs of")
        assert (await run("workflow", "retry", workflow)).returncode == 0
        assert (await run("workflow", "show", "nobody")).returncode == 5


@pytest.mark.parametrize("name", ["scheduler", "dashboard", "worker"])
def test_a_service_shows_its_help_or_what_to_install(name: str) -> None:
    done = naq(name, "--help")
    if done.returncode == 127:
        assert f"pip install naq-{name}" in done.stderr
    else:
        assert done.returncode == 0
        assert f"Usage: naq {name}" in done.stdout
