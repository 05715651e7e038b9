"""Figures are stored as sums, read back as series, and cost no message per job."""

import time

import pytest

from naq_client import Queue
from naq_core.metrics import LEVELS, Recorder, SeriesReader, TallyReader, read_series
from naq_core.metrics.recorder import MOST_QUEUES
from naq_core.storage.figures import ensure_metrics, store_figures
from naq_core.testing import WorkerRunner
from tests.integration import work
from tests.support.eventually import eventually


async def test_nobody_has_stored_anything_yet(queue: Queue) -> None:
    series = await read_series(await queue.connection())
    assert (series.step, len(series.points)) == (10, 360)
    assert not any(point.succeeded for point in series.points)


async def test_sources_are_added_up_and_a_stretch_is_replaced(queue: Queue) -> None:
    connection = await queue.connection()
    now = time.time() - 30
    for source, count in (("one", 3), ("two", 4)):
        recorder = Recorder(source)
        for _ in range(count):
            recorder.note_start("default", "m:f", 0.2)
            recorder.note("default", "m:f", "succeeded", 0.04)
        await recorder.store(connection, now)
        recorder.note("default", "m:f", "timed_out", 0.04)
        recorder.note_depth("default", 10 + count)
        await recorder.store(connection, now)
        await recorder.store(connection, now)
    for hours in (1, 6, 72):
        series = await read_series(connection, hours, "default", "m:f")
        assert sum(point.succeeded for point in series.points) == 7
        assert sum(point.failed for point in series.points) == 2
        [point] = [point for point in series.points if point.succeeded]
        assert point.run_p95 is not None
        assert 0.035 <= point.run_p95 <= 0.05
        assert point.depth == 14
    assert not any(point.succeeded for point in (await read_series(connection, 1, "other")).points)
    info = await connection.api(f"STREAM.INFO.{connection.names.metrics_stream}")
    assert info["state"]["messages"] == 2 * len(LEVELS)


async def test_a_reader_reads_only_what_is_new(queue: Queue) -> None:
    connection = await queue.connection()
    recorder, reader = Recorder("one"), SeriesReader()
    for expected in (1, 2, 3):
        recorder.note("default", "m:f", "succeeded", 0.1)
        await recorder.store(connection)
        await reader.refresh(connection, LEVELS[-1])
        for asked in (("", ""), ("default", ""), ("", "m:f")):
            assert sum(point.succeeded for point in reader.series(LEVELS[-1], 72, *asked).points) == expected
        assert not any(point.succeeded for point in reader.series(LEVELS[-1], 72, "other").points)
        assert [each.succeeded for each in reader.by_function(LEVELS[-1], 72)] == [expected]


async def test_what_ended_is_told_for_each_queue(queue: Queue) -> None:
    connection = await queue.connection()
    now = time.time()
    recorder, reader = Recorder("one"), SeriesReader()
    for name, outcome in (
        ("mail", "succeeded"),
        ("mail", "failed"),
        ("mail", "retried"),
        ("images", "cancelled"),
        ("etl", "retried"),
    ):
        recorder.note(name, "m:f", outcome, 0.1)
    await recorder.store(connection, now)
    await reader.refresh(connection, LEVELS[1])
    ended = reader.ended_by_queue(LEVELS[1], 1.0, now)
    assert {name: sum(minutes) for name, minutes in ended.items()} == {"mail": 2, "images": 1}
    assert {len(minutes) for minutes in ended.values()} == {60}


async def test_what_was_enqueued_in_a_stretch_is_the_growth_that_workers_saw(queue: Queue) -> None:
    connection = await queue.connection()
    now = time.time()
    for source, looks in (("one", (100, 103, 110)), ("two", (101, 108))):  # both look at the same queue
        recorder = Recorder(source)
        for total in looks:
            recorder.note_enqueued("default", total)
            await recorder.store(connection, now)
    for hours in (1, 6, 72):
        assert sum(point.enqueued for point in (await read_series(connection, hours, "default")).points) == 10
    assert sum(point.enqueued for point in (await read_series(connection, 1, "other")).points) == 0


async def test_what_is_not_ours_is_left_out(queue: Queue) -> None:
    connection = await queue.connection()
    await ensure_metrics(connection)
    now = int(time.time())
    await store_figures(connection, 10, now // 10 * 10, "evil", b"\xff not json", 60)
    await store_figures(connection, 10, now // 10 * 10, "newer", b'{"rows": 7}', 60)
    assert len((await read_series(connection)).points) == 360


async def test_figures_of_very_many_queues_are_stored(queue: Queue) -> None:
    """Each of 10,000 queues has a name and a function of some length: in one message they would take 4 MB."""
    connection = await queue.connection()
    now = time.time() - 30
    recorder = Recorder("one")
    names = [f"{'tenant' * 6}-{number}" for number in range(10_000)]
    for times in (1, 2):
        for name in names:
            recorder.note_start(name, f"{'package.' * 20}module:function", 0.2)
            recorder.note(name, f"{'package.' * 20}module:function", "succeeded", 0.04)
            recorder.note_depth(name, times)
        await recorder.store(connection, now)
    recorder.note(names[0], "m:f", "succeeded")
    await recorder.store(connection, now)
    every = await read_series(connection, 1)
    assert sum(point.succeeded for point in every.points) == 20_001
    assert sum(point.depth or 0 for point in every.points) == 2 * (10_000 - MOST_QUEUES)
    last = await read_series(connection, 72, names[-1])
    assert sum(point.succeeded for point in last.points) == 2


async def test_functions_without_end_share_a_row(queue: Queue) -> None:
    connection = await queue.connection()
    recorder = Recorder("one")
    for number in range(500):
        recorder.note("default", f"m:lambda{number}", "succeeded", 0.1)
    await recorder.store(connection)
    reader = TallyReader(kind="succeeded")

    async def all_counted() -> None:
        await reader.refresh(connection)
        assert sum(reader.values.values()) == 500

    await eventually(all_counted)
    assert len(reader.values) == 201
    assert sum(point.succeeded for point in (await read_series(connection)).points) == 500


async def test_a_worker_counts_what_its_jobs_come_to(queue: Queue, naq_worker: WorkerRunner) -> None:
    for _ in range(5):
        await queue.enqueue(work.add, 1, 1)
    await queue.options(max_retries=1, retry_delay=0.01).enqueue(work.fail, "x")
    await queue.options(fast=True).enqueue(work.add, 2, 2)
    await naq_worker.run_until_idle()
    points = (await read_series(await queue.connection(), 1, "default")).points
    assert sum(point.succeeded for point in points) == 6
    assert sum(point.failed for point in points) == 1
    assert sum(point.retried for point in points) == 1
    assert sum(point.started for point in points) == 8
    assert any(point.wait_p95 for point in points)


@pytest.mark.parametrize("outcome", ["", "returned"])
async def test_other_outcomes_count_only_as_runs(outcome: str) -> None:
    recorder = Recorder("one")
    recorder.note("q", "f", outcome, 0.1)
    [row] = recorder._parts[0].close(0.0)
    assert (row.succeeded, row.failed, row.retried, row.cancelled, sum(row.run.values())) == (0, 0, 0, 0, 1)
