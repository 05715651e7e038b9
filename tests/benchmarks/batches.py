"""Batches: how fast jobs drain that share a call, beside the same jobs by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from naq_cli.bench.stamps import stamps
from naq_client import task
from tests.benchmarks import jobs
from tests.benchmarks.keys import drain_of
from tests.benchmarks.lab import Lab

SIZE = 100
CALL = 0.001
"""Seconds of a call that is not free, whatever it is for: as a statement of a database."""


@task(batch=SIZE)
async def noop_many(slots: list[int]) -> None:
    _note(slots)


async def busy(slot: int) -> None:
    stamps().begin(slot)
    time.sleep(CALL)  # noqa: ASYNC251 - it keeps the worker busy
    stamps().finish(slot)


@task(batch=SIZE)
async def busy_many(slots: list[int]) -> None:
    time.sleep(CALL)  # noqa: ASYNC251 - it keeps the worker busy
    _note(slots)


def _note(slots: list[int]) -> None:
    for slot in slots:
        stamps().begin(slot)
        stamps().finish(slot)


async def batches(lab: Lab) -> None:
    """Work off 20,000 jobs, a hundred with each call: calls that do nothing, and calls that take 1 ms."""
    await _compare(lab, "no-op", jobs.noop, noop_many)
    await _compare(lab, "1 ms", busy, busy_many)


async def _compare(lab: Lab, what: str, single: Callable[[int], Any], many: Callable[..., Any]) -> None:
    floor = await drain_of(lab, lambda slot: None, function=single)
    rate = await drain_of(lab, lambda slot: None, function=many)
    lab.results.add(f"drain, {SIZE} jobs with each call ({what})", "jobs/s", rate, floor, "one job with each call")
