"""What the reading commands share: forms of output, where errors come from, exit codes."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from naq_core.connection import Connection
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.storage.topology import ensure_streams
from tests.cli.commands import environment, naq, run, started, wait_for_line
from tests.cli.terminal import plain, screen
from tests.support.clocks import WrongClock, make_late, put_ahead

NOBODY = "nats://127.0.0.1:9"
ONLINE = [("workers",), ("queue", "resume", "emails"), ("setup",), ("doctor",)]


class TestWithoutAServer:
    @pytest.mark.parametrize("words", ONLINE, ids=" ".join)
    def test_it_says_what_failed_where_the_address_came_from_and_what_to_type(self, words: tuple[str, ...]) -> None:
        done = naq(*words, NAQ_NATS_URL=NOBODY)
        assert done.returncode == 3
        assert done.stdout == ""
        assert done.stderr.startswith(f"naq {words[0]}")
        assert f"cannot reach NATS at {NOBODY} (from NAQ_NATS_URL)" in done.stderr
        assert "naq server" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_refused_credentials_say_what_to_check(self) -> None:
        with EmbeddedServer(config='authorization { user: me, password: "secret" }') as server:
            done = naq("workers", NAQ_NATS_URL=server.url)
            assert done.returncode == 3
            assert "Check NAQ_NATS_USER" in done.stderr
            assert done.stderr.count("\n") == 1
            assert naq("workers", NAQ_NATS_URL=server.url, NAQ_NATS_USER="me", NAQ_NATS_PASSWORD="secret").returncode == 0

    def test_an_option_is_named_as_one(self) -> None:
        done = naq("workers", "--nats-url", NOBODY)
        assert "(from --nats-url)" in done.stderr

    def test_a_wrong_setting_is_a_usage_error(self) -> None:
        done = naq("workers", NAQ_ACK_WAIT="soon")
        assert done.returncode == 2
        assert "NAQ_ACK_WAIT" in done.stderr
        done = naq("workers", "--namespace", "a.b")
        assert done.returncode == 2
        assert "--namespace" in done.stderr

    def test_a_context_that_is_not_there_is_named(self) -> None:
        done = naq("workers", "--context", "nowhere")
        assert done.returncode == 2
        assert "nowhere" in done.stderr
        assert "--context" in done.stderr

    def test_whoever_reads_the_output_may_go_away(self, here: dict[str, Any]) -> None:
        command = f"{sys.executable} -m naq_cli config show | head -1"
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, env=environment(**here), timeout=30, check=False
        )
        assert done.stdout == "setting\tvalue\tsource\n"
        assert done.stderr == ""

    def test_sigterm_ends_a_command_that_goes_on_without_a_traceback(self, here: dict[str, Any]) -> None:
        with started("naq_cli", "events", **here) as process:
            wait_for_line(process.stdout, "kind")
            process.terminate()
            _, messages = process.communicate(timeout=10)
        assert process.returncode == 143
        assert "Traceback" not in messages

    def test_an_unknown_variable_is_a_warning_with_a_hint(self) -> None:
        done = naq("config", "show", NAQ_NATS_ULR="x")
        assert done.returncode == 0
        assert "NAQ_NATS_ULR is not a NAQ setting; did you mean NAQ_NATS_URL?" in done.stderr


class TestConfig:
    def test_without_a_verb_it_shows_the_settings(self) -> None:
        assert naq("config").stdout == naq("config", "show").stdout

    def test_a_verb_that_is_none_is_named(self) -> None:
        done = naq("config", "bogus")
        assert (done.returncode, done.stderr) == (2, "naq config: unexpected argument 'bogus'. See: naq config --help\n")

    def test_each_value_has_its_source_and_secrets_are_hidden(self, tmp_path: Path) -> None:
        (tmp_path / "naq.toml").write_text("concurrency = 3\n")
        variables = {"NAQ_NATS_URL": "nats://me:s3same@host", "NATS_PASSWORD": "s3same"}
        done = naq("config", "show", "--json", "--namespace", "mine", cwd=tmp_path, **variables)
        rows = {row["setting"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
        assert rows["nats_url"] == ("nats://***@host", "NAQ_NATS_URL")
        assert rows["nats_password"] == ("***", "NATS_PASSWORD")
        assert rows["namespace"] == ("mine", "argument")
        assert rows["concurrency"] == (3, str(tmp_path / "naq.toml"))
        assert rows["ack_wait"] == ("15s", "default")
        assert "s3same" not in done.stdout

    def test_in_a_pipe_it_is_tab_separated(self) -> None:
        lines = [line.split("\t") for line in naq("config", "show").stdout.splitlines()]
        assert lines[0] == ["setting", "value", "source"]
        assert {len(line) for line in lines} == {3}

    @pytest.mark.parametrize("width", [80, 120])
    def test_on_a_terminal_it_is_a_coloured_table_that_fits(self, width: int) -> None:
        shown, code = screen("config", "show", width=width)
        assert code == 0
        assert "\x1b[1m" in shown
        assert max(len(line.rstrip()) for line in plain(shown).splitlines()) <= width
        assert "\t" not in shown

    def test_no_color_is_honoured(self) -> None:
        shown, _ = screen("config", "show", NO_COLOR="1")
        assert "\x1b[3" not in shown
        shown, _ = screen("config", "show", "--no-color")
        assert "\x1b[3" not in shown


class TestSetup:
    def test_it_creates_what_is_missing_once(self, here: dict[str, Any]) -> None:
        first = naq("setup", "emails", "--dry-run", "--jsonl", **here)
        assert {json.loads(line)["state"] for line in first.stdout.splitlines()} == {"created"}
        second = naq("setup", "emails", "--json", **here)
        assert {item["state"] for item in json.loads(second.stdout)} == {"created"}
        assert "naq-worker-emails" in [item["name"] for item in json.loads(second.stdout)]
        third = naq("setup", "emails", "--json", **here)
        assert {item["state"] for item in json.loads(third.stdout)} == {"ok"}

    def test_what_differs_is_named_and_changed_only_on_demand(self, here: dict[str, Any]) -> None:
        naq("setup", "emails", **here)
        other = {**here, "NAQ_ACK_WAIT": "30s"}
        first = naq("setup", "emails", **other)
        assert first.returncode == 0
        assert "consumer naq-worker-emails differs from what NAQ needs (ack_wait): naq setup --update changes it" in first.stderr
        assert '"15 s", wanted "30 s"' in first.stdout
        assert "updated" in naq("setup", "emails", "--update", **other).stdout
        assert "differs" not in naq("setup", "emails", **other).stdout

    async def test_a_stream_that_breaks_promises_is_refused_named_and_repaired(
        self, settings: Settings, here: dict[str, Any]
    ) -> None:
        async with Connection(settings) as connection:
            await ensure_streams(connection)
            name = connection.names.results_stream
            config = (await connection.api(f"STREAM.INFO.{name}"))["config"]
            await connection.api(f"STREAM.UPDATE.{name}", {**config, "max_msgs_per_subject": 5})
        done = await asyncio.to_thread(naq, "setup", **here)
        assert done.returncode == 7
        assert f"stream {name} differs from what NAQ needs (max_msgs_per_subject): naq setup --update changes it" in done.stderr
        found = await asyncio.to_thread(naq, "doctor", "--json", **here)
        assert found.returncode == 1
        problem = next(each for each in json.loads(found.stdout) if each["status"] == "problem")
        assert problem["check"] == f"stream {name}"
        assert problem["advice"] == "naq setup --update changes it."
        assert "updated" in (await asyncio.to_thread(naq, "setup", "--update", **here)).stdout
        assert (await asyncio.to_thread(naq, "setup", **here)).returncode == 0


class TestDoctor:
    def test_it_tells_what_it_found_and_what_to_do(self, here: dict[str, Any]) -> None:
        done = naq("doctor", "--json", **here)
        found = {finding["check"]: finding for finding in json.loads(done.stdout)}
        assert done.returncode == 0
        assert found["server"]["status"] == "ok"
        assert found["workers"] == {
            "check": "workers",
            "status": "warning",
            "found": "no worker is running",
            "advice": found["workers"]["advice"],
        }
        assert "naq worker" in found["workers"]["advice"]
        assert found["trust"]["status"] == "warning"
        assert found["trust"]["found"].startswith("account $G; the user has full access; jobs are not signed")

    def test_a_queue_that_cannot_be_used_is_a_problem(self, here: dict[str, Any]) -> None:
        naq("setup", "emails", **here)
        assert naq("doctor", "emails", **here).returncode == 0
        done = naq("doctor", "letters", **here)
        assert done.returncode == 1
        assert "naq setup letters" in done.stdout
        assert naq("doctor", "emails", "--strict", **here).returncode == 1

    def test_priorities_that_no_job_has_used_yet_are_no_problem(self, here: dict[str, Any]) -> None:
        naq("enqueue", "math:sqrt", "2", "--queue", "emails", **here)
        found = {each["check"]: each["status"] for each in json.loads(naq("doctor", "emails", "--json", **here).stdout)}
        assert found["streams"] == "ok"
        assert not [check for check in found if check.startswith("consumer")]
        assert "naq-high-emails" not in naq("setup", "--dry-run", **here).stdout
        assert "naq-high-emails" in naq("setup", "emails", "--dry-run", **here).stdout

    def test_jobs_that_wait_for_nobody_are_a_problem(self, here: dict[str, Any]) -> None:
        naq("enqueue", "math:sqrt", "2", "--queue", "emails", **here)
        done = naq("doctor", **here)
        assert done.returncode == 1
        assert "has 1 queued job and no worker serves it\tStart one: naq worker emails" in done.stdout

    def test_schedules_that_nobody_fires_are_a_problem(self, here: dict[str, Any]) -> None:
        naq("schedule", "add", "math:sqrt", "2", "--every", "1h", **here)
        done = naq("doctor", **here)
        assert done.returncode == 1
        assert "1 schedule is active and no scheduler is the leader\tStart one: naq scheduler" in done.stdout
        with started("naq_cli", "scheduler", **here) as process:
            wait_for_line(process.stderr, "is the leader")
            said = naq("doctor", **here).stdout
            assert re.search(r"scheduler\tok\t\S+ is the leader since \d{4}-.* UTC; 1 schedule is active", said), said
            assert " is the leader since " in naq("schedule", "list", **here).stderr
            process.terminate()
            process.communicate(timeout=20)

    @pytest.mark.parametrize(("shift", "way"), [(3600.0, "1h ahead of"), (-95.0, "1m behind")])
    def test_a_wrong_clock_is_told(self, shift: float, way: str, here: dict[str, Any], tmp_path: Path) -> None:
        naq("setup", **here)
        ours = os.pathsep.join(entry for entry in sys.path if entry)
        wrong = WrongClock(tmp_path / "clock", shift).environment({"PYTHONPATH": ours})
        found = {each["check"]: each for each in json.loads(run("naq_cli", "doctor", "--json", **{**here, **wrong}).stdout)}
        assert found["clock"]["status"] == "warning"
        assert found["clock"]["found"].startswith(f"this machine's clock is {way}"), found["clock"]
        right = {each["check"]: each for each in json.loads(naq("doctor", "--json", **here).stdout)}
        assert right["clock"]["status"] == "ok"

    async def test_a_schedule_that_was_not_fired_is_late(self, here: dict[str, Any]) -> None:
        for name in ("fine", "slow", "resting"):
            await asyncio.to_thread(naq, "schedule", "add", "math:sqrt", "2", "--every", "1h", "--id", name, **here)
        await asyncio.to_thread(naq, "schedule", "pause", "resting", **here)
        async with Connection(Settings.load(nats_url=here["NAQ_NATS_URL"], namespace=here["NAQ_NAMESPACE"])) as connection:
            for name in ("slow", "resting"):
                await make_late(connection, name, timedelta(minutes=7))
        listed = await asyncio.to_thread(naq, "schedule", "list", **here)
        assert [line.split("\t")[:2] for line in listed.stdout.splitlines()[1:]] == [
            ["fine", "active"],
            ["resting", "paused"],
            ["slow", "late"],
        ]
        assert "No scheduler is the leader: schedules do not fire" in listed.stderr
        done = await asyncio.to_thread(naq, "doctor", **here)
        assert "schedule slow\tproblem\tis late: a run was due 7m ago and was not fired\tA scheduler will fire it" in done.stdout
        assert done.stdout.count("is late") == 1
        assert json.loads((await asyncio.to_thread(naq, "schedule", "show", "slow", "--json", **here)).stdout)["late"] > 400

    async def test_a_schedule_that_a_wrong_clock_has_put_ahead_is_a_problem(self, here: dict[str, Any]) -> None:
        await asyncio.to_thread(naq, "schedule", "add", "math:sqrt", "2", "--every", "1h", "--id", "far", **here)
        async with Connection(Settings.load(nats_url=here["NAQ_NATS_URL"], namespace=here["NAQ_NAMESPACE"])) as connection:
            await put_ahead(connection, "far", timedelta(days=3650))
        done = await asyncio.to_thread(naq, "doctor", **here)
        assert "schedule far\tproblem\tdoes not fire before 2036-" in done.stdout, done.stdout
        assert "naq schedule resume far makes it fire again." in done.stdout
        await asyncio.to_thread(naq, "schedule", "resume", "far", **here)
        assert "does not fire before" not in (await asyncio.to_thread(naq, "doctor", **here)).stdout

    def test_on_a_terminal_it_reads_as_a_report(self, here: dict[str, Any]) -> None:
        shown, code = screen("doctor", width=80, **here)
        assert code == 0
        assert "→ Start one: naq worker" in plain(shown)


class TestQueues:
    def test_a_paused_queue_is_resumed(self, here: dict[str, Any]) -> None:
        assert "naq queue resume emails" in naq("queue", "pause", "emails", **here).stdout
        assert naq("queue", "resume", "emails", "--quiet", **here).stdout == "emails\n"

    def test_a_name_that_no_queue_has_is_remarked_upon(self, here: dict[str, Any]) -> None:
        done = naq("queue", "pause", "emials", **here)
        assert (done.returncode, "Queue emials did not exist and was created." in done.stderr) == (0, True)
        assert "until now" not in naq("queue", "limit", "emials", "2", **here).stderr

    def test_a_limit_of_none_at_all_is_refused(self, here: dict[str, Any]) -> None:
        done = naq("queue", "limit", "emails", "0", **here)
        assert (done.returncode, done.stderr) == (2, "naq queue limit: '0' is not a positive number or none\n")

    def test_a_wrong_time_is_a_usage_error(self, here: dict[str, Any]) -> None:
        done = naq("queue", "pause", "emails", "--until", "soon", **here)
        assert done.returncode == 2
        assert "'soon' is neither a duration" in done.stderr

    def test_purging_counts_and_asks_for_yes_where_nobody_can_be_asked(self, here: dict[str, Any]) -> None:
        assert naq("queue", "purge", "emails", **here).returncode == 5
        naq("enqueue", "math:sqrt", "2", "--queue", "emails", **here)
        naq("enqueue", "math:sqrt", "2", "--queue", "emails", "--in", "1h", **here)
        done = naq("queue", "purge", "emails", **here)
        assert done.returncode == 2
        assert "1 queued and 1 held jobs of emails would be deleted." in done.stderr
        assert "--yes" in done.stderr
        assert naq("purge", "emails", "--yes", **here).stdout == "2 jobs of emails were deleted.\n"
        assert naq("purge", "emails", **here).returncode == 0


class TestWorkers:
    def test_without_any_a_pipe_gets_the_header_and_json_an_empty_list(self, here: dict[str, Any]) -> None:
        assert naq("workers", **here).stdout.startswith("worker\thost\t")
        assert naq("workers", "--json", **here).stdout == "[]\n"

    def test_one_that_is_not_there_is_not_found(self, here: dict[str, Any]) -> None:
        done = naq("worker", "show", "nobody", **here)
        assert done.returncode == 5
        assert "naq workers" in done.stderr
