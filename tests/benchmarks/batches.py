"""Batches: how fast jobs drain that share a call, beside the same jobs by themselves."""

from __future__ import annotations

from naq_cli.bench.stamps import stamps
from naq_client import task
from tests.benchmarks.keys import drain_of
from tests.benchmarks.lab import Lab

SIZE = 100


@task(batch=SIZE)
async def noop_many(slots: list[int]) -> None:
    for slot in slots:
        stamps().begin(slot)
        stamps().finish(slot)


async def batches(lab: Lab) -> None:
    """Work off 20,000 no-op jobs, a hundred with each call."""
    floor = await drain_of(lab, lambda slot: None)
    rate = await drain_of(lab, lambda slot: None, function=noop_many)
    lab.results.add(f"drain, {SIZE} jobs with each call", "jobs/s", rate, floor, "one job with each call")
