"""F8: the server takes no records for a while: a right was taken, the bucket is full, or nobody listens to its subjects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from naq_core import JobState, Settings
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.checker import verify
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet, WorkerProcess


class Outage(NamedTuple):
    """How the records are refused, for how long, and how many jobs come meanwhile."""

    kind: str
    seconds: float
    enqueued: int


KINDS = ("permission", "full", "no responders")
IN_HAND = 8
SHORT = [pytest.param(Outage(kind, 3, 40), id=f"{kind}-short") for kind in KINDS]
# Longer than the budget and two leases: ends are lost, and the jobs run again.
LONG = [
    pytest.param(Outage(kind, 60, 400), id=f"{kind}-long", marks=[pytest.mark.slow, pytest.mark.timeout(300)]) for kind in KINDS
]


def users(denied: str = "") -> str:
    """Return a configuration with a user for the workers, who may be denied something, and one for the test."""
    rights = f', permissions: {{ publish: {{ deny: ["{denied}"] }} }}' if denied else ""
    worker = f'{{ user: worker, password: "w"{rights} }}'
    return f'authorization {{ users = [ {worker}, {{ user: free, password: "f" }} ] }}\nno_auth_user: free'


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(config=users()) as server:
        yield server


class Records:
    """The results' bucket, as an operator would change it."""

    def __init__(self, server: EmbeddedServer, observer: Observer) -> None:
        self._server = server
        self._client = observer.client
        self._names = observer.names

    async def refuse(self, kind: str) -> None:
        match kind:
            case "permission":
                await asyncio.to_thread(self._server.reload, users(f"{self._names.results}.>"))
            case "full":
                used = (await self._api("INFO"))["state"]["bytes"]
                await self._change(max_bytes=max(1, used))
            case _:
                await self._change(subjects=["nobody.listens.here"], republish=None)

    async def accept(self, kind: str, original: dict[str, Any]) -> None:
        if kind == "permission":
            await asyncio.to_thread(self._server.reload, users())
        else:
            await self._change(**{name: original.get(name) for name in ("max_bytes", "subjects", "republish")})

    async def config(self) -> dict[str, Any]:
        config: dict[str, Any] = (await self._api("INFO"))["config"]
        return config

    async def _change(self, **changes: Any) -> None:
        changed = {name: value for name, value in ((await self.config()) | changes).items() if value is not None}
        await self._api("UPDATE", changed)

    async def _api(self, operation: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        subject = f"$JS.API.STREAM.{operation}.{self._names.results_stream}"
        reply = await self._client.request(subject, json.dumps(body).encode() if body else b"", 5)
        answer: dict[str, Any] = json.loads(reply.data)
        assert "error" not in answer, answer["error"]
        return answer


@contextmanager
def workers(settings: Settings, history: History, tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    mine = replace(settings, nats_user="worker", nats_password="w")
    with Fleet(mine, history, tmp_path) as fleet:
        yield [fleet.start(), fleet.start()]


@pytest.mark.parametrize("form", [*SHORT, *LONG])
async def test_nothing_is_lost_while_records_are_refused_and_nothing_stops_in_silence(
    form: Outage, own_server: EmbeddedServer, own_settings: Settings, own_load: Load, history: History, tmp_path: Path
) -> None:
    records = Records(own_server, own_load.observer)
    with workers(own_settings, history, tmp_path) as started:
        await own_load.enqueue(jobs.work)
        await own_load.finish(15)
        await eventually(lambda: _are_up(own_load.observer, len(started)), 15)
        original = await records.config()
        for _ in range(IN_HAND):  # in hand when the outage begins, done in the middle of it
            await own_load.enqueue(jobs.work, min(1.0, form.seconds / 3))
        await eventually(lambda: _have_started(history, own_load.accepted), 15)
        with history.fault("records refused"):
            await records.refuse(form.kind)
            for _ in range(form.enqueued):
                await own_load.enqueue(jobs.work)
            await asyncio.sleep(form.seconds)
            await records.accept(form.kind, original)
        ended = await own_load.finish(40)
        assert all(worker.is_alive for worker in started), [worker.output()[-3000:] for worker in started]
        said = "".join(worker.output() for worker in started)
    assert {record.state for record in ended.values()} == {JobState.SUCCEEDED}
    assert {record.crashes for record in ended.values()} == {0}, "nobody died"
    assert REASONS[form.kind](said), said[-3000:]
    report = verify(history.events())
    in_hand = IN_HAND + len(started) * (1.5 * own_settings.concurrency + 1)  # its slots, what it orders ahead, and a probe
    assert report.extra_runs <= in_hand, report
    if form.seconds < own_settings.publish_budget.total_seconds():
        assert report.extra_runs == 0, f"an end that could be recorded within the budget was thrown away: {report}"


REASONS: dict[str, Callable[[str], bool]] = {
    "permission": lambda said: "may not publish to" in said,
    "full": lambda said: "maximum bytes exceeded" in said,
    "no responders": lambda _: True,
}


def _have_started(history: History, job_ids: list[str]) -> None:
    assert {event.job for event in history.events("start")}.issuperset(job_ids)


async def test_a_record_that_is_refused_for_longer_than_the_budget_is_said_so(
    own_server: EmbeddedServer, own_settings: Settings, own_load: Load, history: History, tmp_path: Path
) -> None:
    """The jobs run again when records are taken again; neither a crash nor a failure is counted."""
    impatient = replace(own_settings, publish_budget=timedelta(seconds=1))
    records = Records(own_server, own_load.observer)
    with workers(impatient, history, tmp_path) as started:
        await own_load.enqueue(jobs.work)
        await own_load.finish(15)
        original = await records.config()
        lost = await own_load.enqueue(jobs.work, 1.0)
        await eventually(lambda: _have_started(history, own_load.accepted), 15)
        with history.fault("records refused"):
            await records.refuse("permission")
            await eventually(lambda: _is_said(started, f"job {lost} will be retried on redelivery"), 15)
            await records.accept("permission", original)
        ended = await own_load.finish(20)
    record = ended[lost]
    assert (record.state, record.attempt, record.crashes) == (JobState.SUCCEEDED, 1, 0)
    assert record.errors[-1].type == "ResultLost"
    assert len(history.events("start", lost)) == 2


async def _are_up(observer: Observer, count: int) -> None:
    assert await observer.workers() == count


def _is_said(started: list[WorkerProcess], text: str) -> None:
    assert any(text in worker.output() for worker in started)
