"""One table of a job's options: each entrance offers what is in it, and refuses a wrong value in the same words."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from naq_cli import app as cli
from naq_cli._errors import CommandError
from naq_cli._job_options import flags_of
from naq_client import Queue, task
from naq_core import InvalidNameError, InvalidOptionError, Job, Settings
from naq_core.delivery_options import Clash
from naq_core.option_set import OptionSet
from naq_core.options import OPTIONS, REPEATED_OPTIONS, read_options
from naq_core.schedules import make_named_spec
from naq_core.schedules.declared import file_specs
from naq_dashboard.actions.enqueue import NewJob, given_options
from naq_dashboard.docs.openapi import describe
from tests.cli.commands import naq
from tests.dashboard.conftest import Client
from tests.dashboard.test_actions import BROWSER, token_of
from tests.integration import work

NEW_JOB: Any = NewJob
NOW = datetime(2030, 1, 1, tzinfo=UTC)
DOCS = (Path(__file__).parents[2] / "docs" / "getting-started.md").read_text(encoding="utf-8")

VALUES: dict[str, tuple[Any, str, Any, str]] = {
    "max_retries": (3, "3", -1, "-1"),
    "retry_delay": ([1, 90.0], "1s,1.5m", "soon", "soon"),
    "retry_strategy": ("linear", "linear", "random", "random"),
    "max_delay": (120, "2m", -5, "-5"),
    "jitter": (True, "true", "maybe", "maybe"),
    "retry_on": (["OSError", "shop.Busy"], "OSError,shop.Busy", ["two words"], "two words"),
    "ignore_on": ([KeyError], "builtins.KeyError", ["two words"], "two words"),
    "timeout": (timedelta(seconds=30), "30s", "soon", "soon"),
    "result_ttl": (3600, "1h", 0.5, "0.5"),
    "process": (True, "true", "maybe", "maybe"),
    "on_success": ("shop.mail:send", "shop.mail:send", "two words", "two words"),
    "on_failure": ("m:f [1]", "m:f [1]", "m:f {", "m:f {"),
    "on_dead": ("m:f", "m:f", "m.f", "m.f"),
    "priority": ("high", "high", "urgent", "urgent"),
    "expires": (600, "10m", "noon", "noon"),
    "key": ("customer-7", "customer-7", "k" * 513, "k" * 513),
    "tags": (["billing", "vip"], "billing,vip", ["two words"], "two words"),
    "headers": ({"customer": "4711"}, "customer=4711", {"": "x"}, "=x"),
    "fast": (True, "true", "maybe", "maybe"),
    "claim": ("first", "first", "never", "never"),
    "at": (NOW + timedelta(hours=2), "2h", "noon", "noon"),
    "delay": (5, "5s", "soon", "soon"),
    "unique": ("report-7", "report-7", "k" * 513, "k" * 513),
    "unique_by": (["order_id", "customer"], "order_id,customer", ["two words"], "two words"),
    "unique_for": (timedelta(hours=1), "1h", 0.5, "0.5"),
    "throttle": (60, "60s", 0.5, "0.5"),
    "on_clash": (Clash.RETURN, "return", "ignore", "ignore"),
    "debounce": (5, "5s", 0, "0"),
    "wait_for": ("invoice-7:approved", "invoice-7:approved", "a b", "a b"),
    "allow_failure": (True, "true", "maybe", "maybe"),
    "parent_results": (True, "true", "maybe", "maybe"),
    "publish_budget": (2, "2s", "soon", "soon"),
    "job_id": ("order-1", "order-1", "a b", "a b"),
    "depends_on": (["order-1", "order-2@mail"], "order-1,order-2@mail", ["a b"], "a b"),
    "queue": ("mail", "mail", "a b", "a b"),
}
"""Of each option a value as a program gives it and as text, and a wrong one in the same two forms."""
BESIDE: dict[str, dict[str, Any]] = {name: {"unique": "k"} for name in ("on_clash", "debounce", "unique_for")}
"""What an option needs beside it."""
FLAGS = frozenset(name for name, option in OPTIONS.items() if option.kind.schema["type"] == "boolean")


def test_every_option_is_tried_here_and_has_a_line_of_help() -> None:
    assert VALUES.keys() == OPTIONS.keys()
    assert [name for name, option in OPTIONS.items() if not re.fullmatch(r"[A-Z][^\n]+\.", option.help)] == []


def typed(*words: str) -> OptionSet:
    """Return the options that the command line reads from words."""
    _, bound, _ = cli.build("enqueue", {}).parse_args(["enqueue", "math:sqrt", *words], exit_on_error=False, print_error=False)
    found: OptionSet = bound.arguments["job"].read(NOW)
    return found


def same(one: OptionSet, other: OptionSet) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("queue", "job_id", "budget", "job", "delivery", "wiring"))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_means_the_same_at_every_entrance(name: str) -> None:
    value, text, _, _ = VALUES[name]
    beside = BESIDE.get(name, {})
    wanted = OptionSet({name: value, **beside})
    assert not same(wanted, OptionSet(beside))
    words = [flags_of(name)[0]] if name in FLAGS else [flags_of(name)[0], text]
    assert same(typed(*words, *(f"--{each}={given}" for each, given in beside.items())), wanted)
    assert same(OptionSet(given_options(NEW_JOB(function="math:sqrt", **{name: text}, **beside), NOW)), wanted)
    if name in REPEATED_OPTIONS:
        spec = make_named_spec("math:sqrt", cron="@daily", options={name: text})
        assert (spec.job().opt, spec.expires_in) == (wanted.job, wanted.delivery.expires_in)


async def test_every_entrance_offers_every_option(dashboard: Client, settings: Settings, tmp_path: Path) -> None:
    flags = {name: flags_of(name)[0] for name in OPTIONS}
    for words, offered in ((("enqueue",), set(OPTIONS)), (("schedule", "add"), {*REPEATED_OPTIONS, "queue"})):
        text = naq(*words, "--help").stdout
        assert {name for name in offered if flags[name] not in text} == set()
    schemas = describe("", needs_login=False)["components"]["schemas"]
    for schema, offered in (("NewJob", set(OPTIONS)), ("ScheduledJob", set(REPEATED_OPTIONS))):
        shown = {name: each["description"] for name, each in schemas[schema]["properties"].items() if name in OPTIONS}
        assert shown == {name: OPTIONS[name].described for name in offered}
    for path, prefix, offered in (("/new-job", "", set(OPTIONS)), ("/new-schedule", "options.", set(REPEATED_OPTIONS))):
        text = (await dashboard.get(path, headers={"Accept": "text/html"})).text
        assert {name for name in offered if f' name="{prefix}{name}"' not in text} == set()
    assert {name for name in OPTIONS if name != "queue" and f"`{name}`" not in DOCS} == set()
    lines = "\n".join(f'{name} = "{VALUES[name][1]}"' for name in OPTIONS if name in REPEATED_OPTIONS)
    entry = f'[[schedules]]\nid = "s"\nfunction = "math:sqrt"\ncron = "@daily"\n[schedules.options]\n{lines}\n'
    (tmp_path / "naq.toml").write_text(entry, encoding="utf-8")
    (spec,) = file_specs(settings, tmp_path)["naq.toml"]
    assert spec.job().opt == OptionSet({name: VALUES[name][0] for name in REPEATED_OPTIONS}).job


def complaint(act: Callable[[], object]) -> str:
    """Return what is said against a value, without the option's name."""
    with pytest.raises((InvalidOptionError, InvalidNameError, CommandError)) as caught:
        act()
    return caught.value.problem if isinstance(caught.value, InvalidOptionError) else str(caught.value)


async def test_a_wrong_value_is_refused_in_the_same_words(dashboard: Client, queue: Queue) -> None:
    token = await token_of(dashboard)
    for name, (_, _, wrong, text) in VALUES.items():
        beside = BESIDE.get(name, {})
        said = complaint_of_programs(queue, name, {name: wrong, **beside}, {name: text, **beside})
        expected = {said, f"{name}: {said}"}
        order = {"function": "math:sqrt", name: wrong, **beside}
        form = {"function": "math:sqrt", name: text, **beside, "_csrf_token": token}
        ways: dict[str, dict[str, Any]] = {"/api/jobs": {"json": order}, "/do/enqueue-job": {"data": form}}
        for path, sent in ways.items():
            answer = await dashboard.post(path, headers=BROWSER | {"Accept": "application/json", "X-CSRF-Token": token}, **sent)
            assert answer.status_code == 400, (name, path)
            assert answer.json()["detail"] in expected, (name, path)
    assert (await dashboard.get("/api/jobs")).json()["jobs"] == []


def complaint_of_programs(queue: Queue, name: str, given: dict[str, Any], written: dict[str, Any]) -> str:
    """Return what every entrance for programs says against a wrong value, and those for text that need no server."""
    said = complaint(lambda: task(work.add).options(**given).call(1, 2))
    ways: list[Callable[[], object]] = [lambda: Job("math:sqrt", options=OptionSet(read_options(written, NOW)))]
    if name != "queue":
        ways += [lambda: queue.options(**given).call(work.add, 1, 2), lambda: Job("math:sqrt", **given)]
    if name not in {"job_id", "depends_on"}:
        ways.append(lambda: task(**given)(work.add).call(1, 2))
    if name in REPEATED_OPTIONS:
        ways.append(lambda: make_named_spec("math:sqrt", cron="@daily", options=given))
    assert {complaint(way) for way in ways} == {said}, name
    if name not in FLAGS | {"depends_on"}:  # no value to be wrong; checked where the job is made
        words = [f"{flags_of(each)[0]}={value}" for each, value in written.items()]
        assert complaint(lambda: typed(*words)) in {said, f"{flags_of(name)[0]}: {said}"}
    return said
