"""Declared schedules are brought about: added, changed, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from naq_client import Queue, scheduled, task
from naq_core import ConfigurationError, InvalidScheduleError, Settings
from naq_core.schedules import declared_specs, file_specs, list_schedules, reconcile
from tests.integration import declared, work


async def test_a_list_is_added_changed_and_removed(queue: Queue) -> None:
    by_hand = await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="by-hand")
    call = queue.call(work.add, 1, 2)
    first = await queue.reconcile(
        "shop", [scheduled(call, cron="@daily", schedule_id="a"), scheduled(call, interval=60, schedule_id="b")]
    )
    assert (first.added, first.changed, first.removed) == (["a", "b"], [], [])
    await (await queue.get_schedule("a")).pause()
    second = await queue.reconcile(
        "shop", [scheduled(call, cron="@hourly", schedule_id="a"), scheduled(call, interval=9, schedule_id="c")]
    )
    assert (second.added, second.changed, second.removed) == (["c"], ["a"], ["b"])
    third = await queue.reconcile(
        "shop", [scheduled(call, cron="@hourly", schedule_id="a"), scheduled(call, interval=9, schedule_id="c")]
    )
    assert (third.added, third.changed, third.removed, third.unchanged) == ([], [], [], ["a", "c"])
    views = {view.schedule_id: view for view in await list_schedules(await queue.connection())}
    assert views.keys() == {"a", "by-hand", "c"}
    assert views["a"].paused
    assert views["a"].cron == "@hourly"
    assert views["by-hand"] == by_hand.view


async def test_another_origins_schedules_stay(queue: Queue) -> None:
    call = queue.call(work.add, 1, 2)
    await queue.reconcile("shop", [scheduled(call, cron="@daily", schedule_id="a")])
    await queue.reconcile("mail", [scheduled(call, cron="@daily", schedule_id="b")])
    assert (await queue.reconcile("mail", [])).removed == ["b"]
    assert [view.schedule_id for view in await list_schedules(await queue.connection())] == ["a"]


async def test_the_same_id_twice_in_a_list_is_refused(queue: Queue) -> None:
    one = scheduled(queue.call(work.add, 1, 2), cron="@daily", schedule_id="a")
    with pytest.raises(InvalidScheduleError, match="twice"):
        await queue.reconcile("shop", [one, one])
    with pytest.raises(InvalidScheduleError, match="schedule_id"):
        scheduled(queue.call(work.add, 1, 2), cron="@daily")


async def test_tasks_declare_their_schedules(settings: Settings, queue: Queue) -> None:
    found = declared_specs(settings, ["tests.integration.declared", "tests.integration.work"])
    assert found["code:tests.integration.work"] == []
    specs = {spec.schedule_id: spec for spec in found["code:tests.integration.declared"]}
    assert specs.keys() == {"tests-integration-declared-nightly", "beat"}
    nightly = specs["tests-integration-declared-nightly"]
    assert (nightly.cron, nightly.timezone, nightly.overlap, nightly.jitter) == ("0 3 * * *", "Europe/Berlin", "skip", 5)
    assert nightly.job().opt.retry.max_retries == 2
    assert (specs["beat"].queue, specs["beat"].expires_in) == ("beats", 60)
    assert declared.nightly() == "done"
    done = await reconcile(await queue.connection(), "code:tests.integration.declared", specs.values())
    assert sorted(done.added) == ["beat", "tests-integration-declared-nightly"]


def test_a_task_with_a_wrong_schedule_is_refused_where_it_stands() -> None:
    with pytest.raises(InvalidScheduleError, match="cron expression"):

        @task(cron="every day")
        def wrong() -> None: ...


TOML = """
namespace = "{namespace}"

[[schedules]]
id = "digest"
function = "shop.tasks:digest"
cron = "30 9 * * mon-fri"
timezone = "Europe/Berlin"
args = ["all"]
kwargs = {{ hard = true }}
options = {{ max_retries = 3, retry_delay = 5 }}
end-at = 2030-01-01T00:00:00Z
queue = "mail"

[[schedules]]
id = "beat"
function = "shop.tasks:beat"
interval = "5m"
misfire = "skip"
grace = "1m"
"""


async def test_a_settings_file_declares_schedules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "naq.toml").write_text(TOML.format(namespace=settings.namespace))
    monkeypatch.chdir(tmp_path)
    assert Settings.load().namespace == settings.namespace
    assert "schedules" not in caplog.text
    (specs,) = file_specs(settings).values()
    await reconcile(await queue.connection(), "naq.toml", specs)
    digest = (await queue.get_schedule("digest")).view
    assert (digest.function, digest.arguments, digest.queue) == ("shop.tasks:digest", "'all', hard=True", "mail")
    assert (digest.cron, digest.timezone, digest.origin) == ("30 9 * * mon-fri", "Europe/Berlin", "naq.toml")
    beat = (await queue.get_schedule("beat")).view
    assert (beat.interval, beat.misfire, beat.grace) == (300, "skip", 60)


def test_a_file_that_says_nothing_of_schedules_removes_none_and_an_empty_list_all(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "naq.toml").write_text("concurrency = 5\n")
    assert file_specs(settings, tmp_path) == {}
    (tmp_path / "naq.toml").write_text("schedules = []\n")
    assert file_specs(settings, tmp_path) == {"naq.toml": []}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("schedules = 5", "list of tables"),
        ("[[schedules]]\nid = 'a'", "function"),
        ("[[schedules]]\nfunction = 'a:b'\ncron = '@daily'", "id"),
        ("[[schedules]]\nid = 'a'\nfunction = 'a:b'", "cron and interval"),
        ("[[schedules]]\nid = 'a'\nfunction = 'a:b'\ncron = 'x'", "cron expression"),
        ("[[schedules]]\nid = 'a'\nfunction = 'a:b'\ncron = '@daily'\nwhen = 5", "when"),
        ("[[schedules]]\nid = 'a'\nfunction = 'a:b'\ncron = '@daily'\noptions = {wrong = 1}", "wrong"),
        ("[[schedules]]\nid = 'a'\nfunction = 'a:b'\ncron = '@daily'\noptions = 5", "options"),
        ("[[schedules]]\nid = 'a.b'\nfunction = 'a:b'\ncron = '@daily'", "schedule id"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file(tmp_path: Path, settings: Settings, text: str, problem: str) -> None:
    (tmp_path / "naq.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        file_specs(settings, tmp_path)
    assert "naq.toml" in str(caught.value)


async def test_a_task_is_scheduled_with_its_own_options(queue: Queue) -> None:
    schedule = await declared.beat.schedule(cron="@daily", schedule_id="extra")
    assert (schedule.view.queue, schedule.view.function) == ("beats", "tests.integration.declared:beat")
    assert (await queue.get_schedule("extra")).view == schedule.view
    with pytest.raises(InvalidScheduleError, match="cron and interval"):
        await declared.beat.schedule()
