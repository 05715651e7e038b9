"""Jobs, from the terminal: enqueue, look, wait, change."""

import json
import re
from typing import Any

import pytest

from tests.cli.commands import naq, started, wait_for_line
from tests.cli.terminal import plain, screen, terminal


def enqueue(*words: str, **here: Any) -> str:
    done = naq("enqueue", *words, "--quiet", **here)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestEnqueue:
    def test_words_become_arguments_and_the_result_is_printed(self, shop: dict[str, Any]) -> None:
        done = naq("enqueue", "shop:price", "3", "currency=USD", "--wait", **shop)
        assert done.stdout == '"3 USD"\n'
        done = naq("enqueue", "shop:price", "--json-args", '[["3"], {"currency": null}]', "--wait", "--json", **shop)
        answer = json.loads(done.stdout)
        assert answer["result"] == "'3' None"
        assert answer["state"] == "succeeded"

    def test_a_job_that_fails_is_exit_code_1_and_says_why(self, shop: dict[str, Any]) -> None:
        done = naq("enqueue", "shop:lose", "luck", "--wait", **shop)
        assert done.returncode == 1
        assert "with ValueError: no luck. See: naq job show" in done.stderr

    def test_following_prints_the_end(self, shop: dict[str, Any]) -> None:
        done = naq("enqueue", "shop:talk", "2", "--follow", **shop)
        lines = done.stdout.splitlines()
        assert lines[-1] == '"said"'
        assert [line.split(" ", 1)[1] for line in lines[:-1]] == ["WARNING word 0", "WARNING word 1"]
        job_id = naq("job", "list", "-q", **shop).stdout.strip()
        assert naq("job", "logs", job_id, **shop).stdout.splitlines() == lines[:-1]
        assert json.loads(naq("job", "logs", "-f", job_id, "--jsonl", **shop).stdout.splitlines()[0])["message"] == "word 0"

    def test_patience_ends_with_124_and_the_job_goes_on(self, here: dict[str, Any]) -> None:
        done = naq("enqueue", "math:sqrt", "2", "--timeout", "100ms", **here)
        assert done.returncode == 124
        assert "naq job wait" in done.stderr

    def test_an_id_of_ones_own_enqueues_once(self, here: dict[str, Any]) -> None:
        for _ in range(2):
            assert enqueue("math:sqrt", "2", "--job-id", "mine", **here) == "mine"
        assert naq("job", "list", "-q", **here).stdout == "mine\n"

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["math.sqrt", "2"], "write module:function, such as math:sqrt"),
            (["math:sqrt", "a=1", "2"], "follows a keyword argument"),
            (["math:sqrt", "a=1", "a=2"], "duplicate keyword argument a"),
            (["math:sqrt", "--json-args", "{"], "--json-args must be JSON"),
            (["math:sqrt", "--json-args", "3"], "--json-args must be a list, an object"),
            (["math:sqrt", "--timeout", "soon"], "--timeout"),
            (["math:sqrt", "--retry-delay", "1s,often"], "--retry-delay"),
            (["math:sqrt", "--in", "1h", "--at", "2030-01-01"], "--at: cannot be combined with delay"),
            (["math:sqrt", "--at", "noon"], "--at"),
            (["math:sqrt", "--in", "soon"], "--in"),
            (["math:sqrt", "--queue", "a.b"], "'a.b' is not a valid queue name"),
        ],
    )
    def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
        self, here: dict[str, Any], words: list[str], said: str
    ) -> None:
        done = naq("enqueue", *words, **here)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert naq("job", "list", "-q", **here).stdout == ""


class TestLater:
    def test_a_delayed_job_is_held_rescheduled_and_run_now(self, shop: dict[str, Any]) -> None:
        job_id = enqueue("shop:price", "3", "--in", "1h", "--priority", "high", **shop)
        shown = json.loads(naq("job", "show", job_id, "--json", **shop).stdout)
        assert (shown["state"], shown["priority"]) == ("held", "high")
        assert naq("list-scheduled", "-q", **shop).stdout.strip() == job_id
        assert "in 2h" in naq("job", "reschedule", job_id, "--in", "121m", **shop).stdout
        assert naq("job", "reschedule", job_id, **shop).returncode == 2
        assert naq("job", "run-now", job_id, **shop).returncode == 0
        assert naq("job", "wait", job_id, "--timeout", "20s", **shop).returncode == 0
        assert naq("job", "run-now", job_id, **shop).returncode == 7
        assert naq("job", "run-now", "nobody", **shop).returncode == 5

    def test_a_second_job_of_a_key_is_a_conflict_unless_that_is_meant(self, here: dict[str, Any]) -> None:
        first = enqueue("math:sqrt", "2", "--unique", "report", **here)
        done = naq("enqueue", "math:sqrt", "2", "--unique", "report", **here)
        assert done.returncode == 7, done.stderr
        assert enqueue("math:sqrt", "2", "--unique", "report", "--on-clash", "return", **here) == first

    def test_a_job_waits_for_another(self, shop: dict[str, Any]) -> None:
        first = enqueue("shop:price", "1", "--in", "1h", **shop)
        second = enqueue("shop:price", "2", "--depends-on", first, **shop)
        assert json.loads(naq("job", "show", second, "--json", **shop).stdout)["parents"] == [first]
        naq("job", "run-now", first, **shop)
        assert naq("job", "wait", second, "--timeout", "20s", **shop).returncode == 0

    def test_a_job_has_the_expiry_it_was_given(self, here: dict[str, Any]) -> None:
        job_id = enqueue("math:sqrt", "1", "--expires", "2030-01-01", **here)
        shown = json.loads(naq("job", "show", job_id, "--json", **here).stdout)
        assert shown["expires_at"] == "2030-01-01T00:00:00Z"


class TestLooking:
    def test_lists_are_filtered_by_words_and_by_options(self, shop: dict[str, Any]) -> None:
        naq("enqueue", "shop:lose", "luck", "--wait", **shop)
        naq("enqueue", "shop:price", "3", "--wait", **shop)
        for words in (["state:failed"], ["--state", "dead"], ["error:ValueError"], ["--function", "lose"], ["luck"]):
            found = json.loads(naq("job", "list", *words, "--json", **shop).stdout)["jobs"]
            assert [job["function"] for job in found] == ["shop:lose"], words
        assert len(naq("job", "list", "--jsonl", **shop).stdout.splitlines()) == 2

    def test_pages_go_on_where_they_ended(self, here: dict[str, Any]) -> None:
        ids = [enqueue("math:sqrt", str(number), **here) for number in range(3)]
        first = json.loads(naq("job", "list", "-n", "2", "--json", **here).stdout)
        second = json.loads(naq("job", "list", "--cursor", first["cursor"], "--json", **here).stdout)
        assert [job["job_id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
        assert naq("job", "list", "--all", "-n", "1", "-q", **here).stdout.split() == ids[::-1]

    def test_what_a_job_says_of_itself_does_not_drive_the_terminal(self, shop: dict[str, Any]) -> None:
        naq("enqueue", "shop:lose", "\x1b[31mred\x1b]0;title\x07", "--wait", **shop)
        shown, code = screen("job", "list", width=160, **shop)
        assert code == 0
        assert "\x1b]0;" not in shown
        assert "\x1b[31mred" not in shown
        assert "\x1b]0;" not in naq("job", "list", **shop).stdout

    @pytest.mark.parametrize("width", [80, 120])
    def test_a_table_fits_the_terminal(self, shop: dict[str, Any], width: int) -> None:
        job_id = enqueue("shop:price", "3", "--wait", **shop) and naq("job", "list", "-q", **shop).stdout.strip()
        shown, _ = screen("job", "list", width=width, **shop)
        lines = plain(shown).splitlines()
        assert max(map(len, lines)) <= width
        assert job_id in plain(shown)
        assert ("Arguments" in plain(shown)) == (width == 120)

    def test_show_has_the_errors_with_their_tracebacks(self, shop: dict[str, Any]) -> None:
        naq("enqueue", "shop:lose", "luck", "--job-id", "x", "--wait", **shop)
        shown = naq("job", "show", "x", **shop).stdout
        assert "state\tdead" in shown
        assert "ValueError: no luck" in shown
        assert "Traceback" in shown
        assert "Traceback" not in naq("job", "show", "x", "--no-traceback", **shop).stdout
        assert json.loads(naq("job", "show", "x", "--json", **shop).stdout)["state"] == "dead"

    def test_an_id_that_is_not_there_is_exit_code_5(self, here: dict[str, Any]) -> None:
        for words in (["show"], ["result"], ["wait"], ["logs"]):
            done = naq("job", *words, "nobody", **here)
            assert done.returncode == 5, words
            assert "no such job" in done.stderr

    def test_waiting_reports_each_job_and_the_worst_end(self, shop: dict[str, Any]) -> None:
        good, bad = enqueue("shop:price", "1", **shop), enqueue("shop:lose", "luck", **shop)
        done = naq("job", "wait", good, bad, "--timeout", "20s", **shop)
        assert done.returncode == 1
        assert sorted(done.stdout.splitlines()) == sorted([f"{good}\tsucceeded", f"{bad}\tdead"])
        assert naq("job", "wait", good, **shop).returncode == 0

    def test_waiting_for_what_does_not_end_is_124(self, here: dict[str, Any]) -> None:
        done = naq("job", "wait", enqueue("math:sqrt", "2", **here), "--timeout", "100ms", **here)
        assert done.returncode == 124
        assert "1 of 1 job did not end within 100ms" in done.stderr

    def test_the_result_of_a_job_that_has_not_ended_says_how_to_wait(self, here: dict[str, Any]) -> None:
        done = naq("job", "result", enqueue("math:sqrt", "2", **here), **here)
        assert done.returncode == 124
        assert "--wait" in done.stderr

    def test_a_large_result_is_printed_whole(self, shop: dict[str, Any]) -> None:
        done = naq("enqueue", "shop:long", "400000", "--wait", **shop)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) == 400_003
        assert json.loads(done.stdout) == "x" * 400_000

    def test_no_result_is_a_result_too(self, shop: dict[str, Any]) -> None:
        assert naq("enqueue", "shop:nothing", "--wait", **shop).stdout in {"null\n", "None\n"}

    def test_a_result_that_is_no_json_is_shown_and_never_unpickled(self, shop: dict[str, Any]) -> None:
        done = naq("enqueue", "shop:thing", "--wait", **shop)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "{1, 2}\n"


class TestChanging:
    def test_a_dead_job_is_put_back_by_its_id(self, shop: dict[str, Any]) -> None:
        naq("enqueue", "shop:lose", "luck", "--job-id", "x", "--wait", **shop)
        done = naq("job", "retry", "x", **shop)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "x is requeued.\n"
        assert naq("job", "wait", "x", "--timeout", "20s", **shop).returncode == 1

    def test_a_filter_counts_asks_and_does_it_to_all(self, shop: dict[str, Any]) -> None:
        ids = {enqueue("shop:lose", "luck", **shop) for _ in range(3)}
        assert naq("job", "wait", *ids, "--timeout", "20s", **shop).returncode == 1
        refused = naq("job", "delete", "state:dead", **shop)
        assert refused.returncode == 2
        assert "3 jobs would be deleted. Confirmation needs a terminal: add --yes." in refused.stderr
        done = naq("job", "delete", "state:dead", "--yes", **shop)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "3 jobs were deleted.\n"
        assert naq("job", "list", "-q", **shop).stdout == ""
        assert naq("job", "delete", "state:dead", "--yes", **shop).stdout == "0 jobs were deleted.\n"

    def test_a_terminal_is_asked(self, here: dict[str, Any]) -> None:
        enqueue("math:sqrt", "2", **here)
        child = terminal("job", "cancel", "queue:default", **here)
        child.expect_exact("1 job would be cancelled. [y/N] ")
        child.sendline("n")
        child.expect_exact("nothing was changed.")
        child.close()
        assert json.loads(naq("job", "list", "--jsonl", **here).stdout)["state"] == "queued"
        child = terminal("job", "cancel", "queue:default", **here)
        child.expect_exact("[y/N] ")
        child.sendline("y")
        child.expect_exact("1 job was cancelled.")
        child.close()
        assert json.loads(naq("job", "list", "--jsonl", **here).stdout)["state"] == "cancelled"

    def test_one_that_has_ended_is_refused_and_the_others_are_done(self, here: dict[str, Any]) -> None:
        first, second = enqueue("math:sqrt", "1", **here), enqueue("math:sqrt", "2", **here)
        assert naq("job", "cancel", first, "--reason", "not needed", **here).returncode == 0
        done = naq("job", "cancel", first, second, **here)
        assert done.returncode == 7
        assert f"{second} is cancelled." in done.stdout
        assert "had already ended" in done.stderr
        assert json.loads(naq("job", "show", first, "--json", **here).stdout)["reason"] == "not needed"

    def test_nothing_meant_is_a_usage_error(self, here: dict[str, Any]) -> None:
        for words in ([], ["some-id", "state:dead"]):
            assert naq("job", "retry", *words, **here).returncode == 2
        assert naq("job", "cancel", "nobody", **here).returncode == 5


class TestQueues:
    def test_queues_are_listed_and_shown_with_their_numbers(self, here: dict[str, Any]) -> None:
        enqueue("math:sqrt", "2", "--queue", "mail", **here)
        naq("queue", "pause", "mail", **here)
        listed = json.loads(naq("queue", "list", "--json", **here).stdout)
        assert [(queue["queue"], queue["queued"], queue["paused"]) for queue in listed] == [("mail", 1, True)]
        shown = dict(line.split("\t") for line in naq("queue", "show", "mail", **here).stdout.splitlines())
        assert shown["state"] == "paused"
        assert shown["consumers"] == "naq-high-mail, naq-worker-mail, naq-low-mail"
        peeked = naq("queue", "peek", "mail", **here).stdout.splitlines()
        assert "math:sqrt" in peeked[1]

    def test_a_limit_is_set_shown_and_lifted(self, here: dict[str, Any]) -> None:
        assert naq("queue", "limit", "mail", "3", **here).returncode == 0
        assert json.loads(naq("queue", "show", "mail", "--json", **here).stdout)["limit"] == 3
        assert naq("queue", "limit", "mail", "none", **here).returncode == 0
        assert json.loads(naq("queue", "show", "mail", "--json", **here).stdout)["limit"] is None
        for most in ("0", "many", "-1"):
            assert naq("queue", "limit", "mail", most, **here).returncode == 2, most

    def test_one_that_is_not_there_is_exit_code_5(self, here: dict[str, Any]) -> None:
        for words in (["show"], ["peek"]):
            assert naq("queue", *words, "nothing", **here).returncode == 5


class TestWorkers:
    def test_a_worker_is_shown_quieted_resumed_and_stopped(self, here: dict[str, Any]) -> None:
        with started("naq_worker", "default", "--name", "mailer", **here) as process:
            wait_for_line(process.stderr, "takes jobs from default")
            worker = naq("workers", "-q", **here).stdout.strip()
            assert worker.startswith("mailer-")
            assert "runs 3 jobs at a time" in naq("workers", "resize", "mailer", "3", **here).stdout
            assert json.loads(naq("workers", "show", "mailer", "--json", **here).stdout)["concurrency"] == 3
            assert naq("workers", "resize", "mailer", "0", **here).returncode == 2
            assert re.search(
                r"^thread MainThread, of the event loop\n  File ", naq("workers", "stack", "mailer", **here).stdout, re.MULTILINE
            )
            assert json.loads(naq("audit", "--json", "-n", "1", **here).stdout)["entries"][0]["action"] == "stack-worker"
            last = json.loads(naq("audit", "--json", "-n", "3", **here).stdout)["entries"]
            assert [(each["action"], each["details"], each["outcome"]) for each in last][2] == (
                "resize-worker",
                {"concurrency": "3"},
                "done",
            )
            assert json.loads(naq("workers", "show", worker[:-3], "--json", **here).stdout)["worker_id"] == worker
            for verb in ("quiet", "resume", "stop"):
                done = naq("workers", verb, worker, **here)
                assert done.returncode == 0, done.stderr
            assert process.wait(20) == 0
        assert naq("workers", "stop", worker, **here).returncode == 5


def test_a_job_shows_its_callbacks(here: dict[str, Any]) -> None:
    calls = [
        "--on-success",
        "shop.orders:ship",
        "--on-dead",
        'shop.mail:apologize ["ada@example.org"]',
        "--on-dead",
        "shop.ops:page",
    ]
    job_id = naq("enqueue", "math:sqrt", "2", *calls, **here).stdout.strip()
    shown = naq("job", "show", job_id, **here).stdout.splitlines()
    assert "on success\tshop.orders:ship(<outcome>)" in shown
    assert 'on dead\tshop.mail:apologize(<outcome>, "ada@example.org"), shop.ops:page(<outcome>)' in shown
    callbacks = json.loads(naq("job", "show", job_id, "--json", **here).stdout)["callbacks"]
    assert callbacks["on_success"] == ["shop.orders:ship(<outcome>)"]
    assert "on_failure" not in callbacks
