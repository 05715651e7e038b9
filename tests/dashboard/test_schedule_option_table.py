"""The table of a schedule's options: each entrance offers what is in it, and refuses a wrong value in the same words."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from naq_cli import app as cli
from naq_cli._errors import CommandError
from naq_cli._job_options import flags_named, flags_of
from naq_client import Queue, scheduled, task
from naq_core import InvalidNameError, InvalidScheduleError, Job, Settings
from naq_core.errors import ConfigurationError
from naq_core.options import SCHEDULE_KEYWORDS, SCHEDULE_OPTIONS, read_options
from naq_core.schedules import ScheduleSpec, make_spec
from naq_core.schedules.declared import file_specs
from naq_core.schedules.store import revised
from naq_dashboard.actions.enqueue import given_options
from naq_dashboard.actions.schedules import NewSchedule
from naq_dashboard.docs.openapi import describe
from tests.cli.commands import naq
from tests.dashboard.conftest import Client
from tests.dashboard.test_actions import BROWSER, token_of
from tests.integration import work

NEW_SCHEDULE: Any = NewSchedule
NOW = datetime(2030, 1, 1, tzinfo=UTC)
DOCS = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")

VALUES: dict[str, tuple[Any, str, Any, str]] = {
    "cron": ("0 9 * * *", "0  9 * * *", "61 * * * *", "61 * * * *"),
    "interval": (90, "1.5m", 0.001, "1ms"),
    "timezone": ("Europe/Berlin", "Europe/Berlin", "Mars/Base", "Mars/Base"),
    "schedule_id": ("nightly", "nightly", "a b", "a b"),
    "start_at": (NOW + timedelta(hours=2), "2h", "noon", "noon"),
    "end_at": (NOW + timedelta(days=2), "2030-01-03T00:00:00Z", "noon", "noon"),
    "max_runs": (3, "3", 0, "0"),
    "jitter": (timedelta(seconds=30), "30s", "soon", "soon"),
    "overlap": ("skip", "skip", "perhaps", "perhaps"),
    "misfire": ("all", "all", "twice", "twice"),
    "grace": (120, "2m", "soon", "soon"),
}
"""Of each option a value as a program gives it and as text, and a wrong one in the same two forms."""
KEYWORDS = {keyword: name for name, keyword in SCHEDULE_KEYWORDS.items()}


def beside(name: str) -> dict[str, Any]:
    """What has to be given beside an option."""
    return ({} if name in {"cron", "interval"} else {"cron": "@daily"}) | ({} if name == "schedule_id" else {"schedule_id": "s"})


def typed(options: dict[str, str]) -> dict[str, Any]:
    """Return the options that the command line reads."""
    words = [f"{flags_of(name, SCHEDULE_OPTIONS)[0]}={text}" for name, text in options.items()]
    command = cli.build("schedule", {})
    _, bound, _ = command.parse_args(["schedule", "add", "math:sqrt", *words], exit_on_error=False, print_error=False)
    found: dict[str, Any] = bound.arguments["times"].given(NOW)
    return found


def spec_of(options: dict[str, Any]) -> ScheduleSpec:
    return make_spec(Job("math:sqrt"), **options)


def test_every_option_is_tried_here_and_has_a_line_of_help() -> None:
    assert VALUES.keys() == SCHEDULE_OPTIONS.keys()
    assert [name for name, option in SCHEDULE_OPTIONS.items() if not re.fullmatch(r"[A-Z][^\n]+\.", option.help)] == []


@pytest.mark.parametrize("name", SCHEDULE_OPTIONS)
def test_a_value_means_the_same_at_every_entrance(name: str) -> None:
    value, text, _, _ = VALUES[name]
    written = {**beside(name), name: text}
    wanted = spec_of({**beside(name), name: value})
    assert getattr(wanted, name) != getattr(spec_of(beside("cron") | {"interval": 1}), name)
    assert spec_of(typed(written)) == wanted
    assert spec_of(given_options(NEW_SCHEDULE(function="math:sqrt", **written), NOW)) == wanted
    assert scheduled(Job("math:sqrt"), **beside(name), **{name: value}) == wanted
    if name not in {"schedule_id", "cron", "interval"}:
        assert revised(spec_of(beside(name)), **{name: value}) == wanted


async def test_every_entrance_offers_every_option(dashboard: Client, settings: Settings, queue: Queue, tmp_path: Path) -> None:
    text = naq("schedule", "add", "--help").stdout
    assert [name for name in SCHEDULE_OPTIONS if flags_of(name, SCHEDULE_OPTIONS)[0] not in text] == []
    schemas = describe("", needs_login=False)["components"]["schemas"]
    for schema, missing in (("NewSchedule", set()), ("Times", {"schedule_id"})):
        shown = {name: each["description"] for name, each in schemas[schema]["properties"].items() if name in SCHEDULE_OPTIONS}
        assert shown == {name: option.described for name, option in SCHEDULE_OPTIONS.items() if name not in missing}
    given = {name: value for name, (value, *_) in VALUES.items() if name != "interval"}
    wanted = spec_of(given)
    schedule = await queue.schedule(work.add, 1, 2, **given)
    assert {name: getattr(schedule.view, name) for name in given} == {name: getattr(wanted, name) for name in given}
    for path in ("/new-schedule", "/schedules/nightly/edit"):
        page = (await dashboard.get(path, headers={"Accept": "text/html"})).text
        assert [name for name in SCHEDULE_OPTIONS if f' name="{name}"' not in page] == []
    assert [name for name in SCHEDULE_OPTIONS if f"`{name}`" not in DOCS] == []
    lines = "\n".join(f"{name} = {_toml(value)}" for name, value in given.items() if name != "schedule_id")
    (tmp_path / "naq.toml").write_text(f'[[schedules]]\nid = "nightly"\nfunction = "math:sqrt"\n{lines}\n', encoding="utf-8")
    (spec,) = file_specs(settings, tmp_path)["naq.toml"]
    assert {name: getattr(spec, name) for name in given} == {name: getattr(wanted, name) for name in given}


async def test_the_form_of_a_schedule_shows_what_is_stored_and_changes_nothing_unasked(dashboard: Client, queue: Queue) -> None:
    given = {name: value for name, (value, *_) in VALUES.items() if name != "interval"}
    schedule = await queue.schedule(work.add, 1, 2, **given)
    before = schedule.view
    page = (await dashboard.get("/schedules/nightly/edit", headers={"Accept": "text/html"})).text
    form = dict(re.findall(r'<input [^>]*name="(\w+)" value="([^"]*)"', page))
    form |= dict(re.findall(r'<select [^>]*name="(\w+)">.*?<option selected>(\w+)', page))
    del form["tz"]  # that of another form, which chooses the zone of all times
    assert form.keys() - {"_csrf_token"} == SCHEDULE_OPTIONS.keys()
    answer = await dashboard.post("/do/edit-schedule", data=form, headers=BROWSER | {"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    assert await schedule.refresh() == before


def complaint(act: Callable[[], object]) -> str:
    with pytest.raises((InvalidScheduleError, InvalidNameError, CommandError)) as caught:
        act()
    return caught.value.problem if isinstance(caught.value, InvalidScheduleError) else str(caught.value)


async def test_a_wrong_value_is_refused_in_the_same_words(
    dashboard: Client, queue: Queue, settings: Settings, tmp_path: Path
) -> None:
    token = await token_of(dashboard)
    await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
    for name, (_, _, wrong, text) in VALUES.items():
        given, written = {**beside(name), name: wrong}, {**beside(name), name: text}
        said = complaint(lambda given=given: spec_of(given))  # type: ignore[misc]
        flag = flags_of(name, SCHEDULE_OPTIONS)[0]
        assert typed_complaint(written) in {said, f"{flag}: {said}"}
        assert complaint(lambda written=written: spec_of(read_options(written, NOW, SCHEDULE_OPTIONS))) == said  # type: ignore[misc]
        assert complaint(lambda given=given: task(**declared(given))(work.add)) == said  # type: ignore[misc]
        with pytest.raises((InvalidScheduleError, InvalidNameError)) as caught:
            await queue.schedule(work.add, 1, 2, **given)
        assert str(caught.value).endswith(said)
        lines = "\n".join(f"{each} = {_toml(value)}" for each, value in given.items() if each != "schedule_id")
        entry = f'[[schedules]]\nid = "{given["schedule_id"]}"\nfunction = "math:sqrt"\n{lines}\n'
        (tmp_path / "naq.toml").write_text(entry, encoding="utf-8")
        with pytest.raises(ConfigurationError) as in_file:
            file_specs(settings, tmp_path)
        assert said in str(in_file.value)
        headers = BROWSER | {"Accept": "application/json", "X-CSRF-Token": token}
        order = {"function": "math:sqrt", **given}
        answers = [await dashboard.post("/api/schedules", headers=headers, json=order)]
        answers.append(await dashboard.post("/do/create-schedule", headers=headers, data={"function": "math:sqrt", **written}))
        if name != "schedule_id":
            answers.append(await dashboard.patch("/api/schedules/s", headers=headers, json={name: wrong}))
        assert {(answer.status_code, answer.json()["detail"].endswith(said)) for answer in answers} == {(400, True)}, name


def typed_complaint(written: dict[str, str]) -> str:
    def act() -> None:
        with flags_named():
            spec_of(typed(written))

    return complaint(act)


def declared(given: dict[str, Any]) -> Any:
    return {KEYWORDS[name]: value for name, value in given.items()}


def _toml(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return (
        str(value) if isinstance(value, int | float) else f'"{value.seconds}s"' if isinstance(value, timedelta) else f'"{value}"'
    )
