"""`naq check` as Nagios, Icinga and cron run it: one line, performance data, four exit codes."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from naq_cli._plugin_status import CheckResult, PerformanceFigure, Status, StatusFinding, Thresholds, limits_of
from naq_core.connection import Connection
from naq_core.settings import Settings, parse_duration
from tests.cli.commands import naq, started, wait_for_line
from tests.support.clocks import make_late
from tests.support.eventually import eventually

NOBODY = "nats://127.0.0.1:9"
LINE = re.compile(r"(\w+) (OK|WARNING|CRITICAL|UNKNOWN) - ([^|\n]+?)(?: \| (.*))?\n")
FIGURE = re.compile(r"('[^']+'|[^\s=']+)=-?[\d.]+(s?)(;[\d.:]*){0,2}")


def check(*words: str, **here: Any) -> tuple[int, str, dict[str, str]]:
    """Run a check, and return its exit code, its text, and its figures with their limits."""
    done = naq("check", *words, **here)
    found = LINE.fullmatch(done.stdout)
    assert found is not None, done
    assert found[2] == Status(done.returncode).name
    figures = (found[4] or "").split()
    assert all(FIGURE.fullmatch(each) for each in figures), figures
    return done.returncode, found[3], dict(each.split("=") for each in figures)


class TestWorkers:
    def test_too_few_are_a_warning_or_critical(self, here: dict[str, Any]) -> None:
        assert check("worker", **here) == (2, "no worker takes jobs", {"workers": "0;1:;1:", "slots": "0", "busy": "0"})
        with started("naq_worker", "mail", "--name", "mailer", "--concurrency", "4", **here) as process:
            wait_for_line(process.stderr, "takes jobs from mail")
            figures = {"workers": "1;1:;1:", "slots": "4", "busy": "0"}
            assert check("worker", **here) == (0, "1 worker takes jobs; 0 of 4 slots busy", figures)
            assert check("worker", "--least", "2,1", **here)[:2] == (1, "1 worker takes jobs")
            assert check("worker", "--least", ",2", **here)[0] == 2
            assert check("worker", "mail", "--name", "mailer", **here)[0] == 0
            code, text, figures = check("worker", "mail", "reports", **here)
            assert (code, text, figures["mail_workers"]) == (2, "no worker takes jobs from reports", "1;1:;1:")
            assert check("worker", "--name", "reporter", **here)[0] == 2
            naq("workers", "quiet", "mailer", **here)
            assert check("worker", **here)[0] == 2, "it takes no jobs"


class TestQueues:
    def test_jobs_that_wait_are_critical_without_a_worker(self, here: dict[str, Any]) -> None:
        assert check("queue", **here)[:2] == (0, "there is no queue")
        naq("enqueue", "math:sqrt", "2", "--queue", "mail", **here)
        assert check("queue", **here)[:2] == (2, "mail: 1 queued job and no worker serves it")
        assert check("queue", "mail", **here)[0] == 2
        naq("queue", "pause", "mail", **here)
        assert check("queue", "mail", **here)[:2] == (1, "mail: paused with 1 queued job")
        assert check("queue", "letters", **here)[0] == 3

    async def test_age_number_and_dead_jobs_have_limits(self, here: dict[str, Any]) -> None:
        for _ in range(3):
            await asyncio.to_thread(naq, "enqueue", "math:sqrt", "2", "--queue", "mail", **here)
        await asyncio.to_thread(naq, "enqueue", "math:sqrt", "no number", "--queue", "bad", "--max-retries", "0", **here)
        await asyncio.to_thread(naq, "worker", "bad", "--burst", **here)

        def ask(*words: str) -> tuple[int, str, dict[str, str]]:
            return check("queue", *words, **here)

        def is_dead() -> None:
            assert ask("bad", "--dead", "0,5")[:2] == (1, "bad: 1 dead job")

        await eventually(lambda: asyncio.to_thread(is_dead))
        assert ask("bad", "--dead", "0,0")[0] == 2
        assert ask("bad", "--dead", "1")[:2] == (0, "bad: 0 queued, 0 running, 1 dead, 0 workers")
        await asyncio.to_thread(naq, "queue", "pause", "mail", **here)
        code, text, figures = ask("mail", "--waiting", "2,9", "--age", "1h,2h")
        assert (code, text) == (1, "mail: 3 queued jobs; mail: paused with 3 queued jobs")
        assert (figures["mail_queued"], figures["mail_dead"]) == ("3;2;9", "0")
        assert figures["mail_age"].endswith("s;3600;7200")
        code, text, _ = ask("--age", "1ms,0.001s")
        assert (code, text.startswith("mail: the oldest job has waited ")) == (2, True)


class TestSchedules:
    async def test_one_that_is_late_or_has_no_scheduler(self, here: dict[str, Any]) -> None:
        def ask(*words: str) -> tuple[int, str, dict[str, str]]:
            return check("schedule", *words, **here)

        assert ask() == (0, "no scheduler is the leader; 0 active schedules", {"late": "0s;30;300", "active": "0"})
        for name in ("fine", "slow"):
            await asyncio.to_thread(naq, "schedule", "add", "math:sqrt", "2", "--every", "1h", "--id", name, **here)
        assert ask()[:2] == (2, "no scheduler is the leader of 2 active schedules")
        with started("naq_cli", "scheduler", **here) as process:
            wait_for_line(process.stderr, "is the leader")
            code, text, _ = ask()
            assert code == 0
            assert re.fullmatch(r"\S+ is the leader; 2 active schedules", text), text
            process.kill()
            process.wait()
        async with Connection(Settings.load(nats_url=here["NAQ_NATS_URL"], namespace=here["NAQ_NAMESPACE"])) as connection:
            await make_late(connection, "slow", timedelta(minutes=2, seconds=5))
        code, text, figures = ask("slow", "--late", "1m,1h")
        assert text.removeprefix("no scheduler is the leader of 1 active schedule; ").startswith("late: slow by 2m")
        assert float(figures["late"].partition("s;")[0]) > 120
        assert ask("fine")[2]["late"] == "0s;30;300"
        assert ask("nothing")[:2] == (3, "there is no schedule nothing")


class TestTheForm:
    @pytest.mark.parametrize("what", ["worker", "queue", "schedule"])
    def test_a_server_out_of_reach_is_critical(self, what: str) -> None:
        code, text, figures = check(what, NAQ_NATS_URL=NOBODY)
        assert (code, figures) == (2, {})
        assert text.startswith(f"cannot reach NATS at {NOBODY}")

    @pytest.mark.parametrize(
        "words",
        [("worker", "--least", "many"), ("queue", "--age", "soon"), ("queue", "--dead", "1,2,3"), ("schedule", "--late", "x,")],
    )
    def test_a_wrong_limit_is_unknown(self, words: tuple[str, ...], here: dict[str, Any]) -> None:
        code, text, _ = check(*words, **here)
        assert (code, "is not of the form WARNING,CRITICAL" in text) == (3, True)

    @pytest.mark.parametrize("words", [("worker", "--nothing"), ("nothing",), ("queue", "--age")])
    def test_a_wrong_command_line_is_unknown(self, words: tuple[str, ...], here: dict[str, Any]) -> None:
        assert naq("check", *words, **here).returncode == 3

    def test_a_wrong_setting_is_unknown(self, here: dict[str, Any]) -> None:
        assert check("worker", **here | {"NAQ_ACK_WAIT": "soon"})[0] == 3

    def test_quiet_is_for_cron(self, here: dict[str, Any]) -> None:
        done = naq("check", "schedule", "--quiet", **here)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert naq("check", "worker", "--quiet", **here).stdout.startswith("WORKERS CRITICAL - ")

    def test_the_worst_is_said_first_and_nothing_breaks_the_line(self) -> None:
        found = [
            StatusFinding(Status.WARNING, "a|b"),
            StatusFinding(Status.CRITICAL, "c\nd\x1b"),
            StatusFinding(Status.OK, "fine"),
        ]
        verdict = CheckResult(found, "", [PerformanceFigure("a b", 1.5, Thresholds(1, None), "s")])
        assert verdict.line("x") == "X CRITICAL - c d\ufffd; a/b | 'a b'=1.5s;1"

    @pytest.mark.parametrize(
        ("text", "limits"),
        [(None, (None, None)), ("1m", (60, None)), (",1h", (None, 3600)), ("1m, 1h", (60, 3600)), ("", (None, None))],
    )
    def test_limits_are_pairs(self, text: str | None, limits: tuple[float | None, float | None]) -> None:
        found = limits_of(text, "--age", lambda each: parse_duration(each).total_seconds())
        assert (found.warning, found.critical) == limits
