"""A job that takes down the workers of whole batches is found, and the others end well."""

from __future__ import annotations

import dataclasses

import pytest

from naq_client import Queue
from naq_core import JobFailedError, Settings
from tests.faults.test_poison import deaths, kept_up
from tests.support.batch_jobs import exit_for_poison
from tests.support.processes import Fleet


async def test_a_poison_job_is_found_among_those_of_its_call(fleet: Fleet, settings: Settings) -> None:
    once = dataclasses.replace(settings, max_crashes=1)
    names = ["a", "b", "poison", "c"]
    async with Queue("default", settings=settings) as queue:
        jobs = dict(zip(names, await queue.enqueue_many([exit_for_poison.call(name) for name in names]), strict=True))
        async with kept_up(fleet, 1, once):
            with pytest.raises(JobFailedError, match="it ran alone"):
                await jobs.pop("poison").result(90)
            sizes = [await job.result(90) for job in jobs.values()]
    assert min(sizes) == 1, "a suspect is called alone"
    assert deaths(fleet) <= 2
