"""Jobs with keys on three servers while the leaders of their streams change: limit and order hold, and no place is lost."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import defaultdict
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import Connection, QueuePolicy, Settings
from naq_core.manage import set_queue_policy
from tests.faults.test_cluster import LONG, cluster, cluster_of, connection, goes_on, is_whole, lead, leads_elsewhere, replicated
from tests.faults.test_keys import begin, check_keys, nothing_is_left, producers
from tests.support.checker import Limits, verify
from tests.support.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

__all__ = ["cluster", "connection", "replicated"]


SERVERS = ("n0", "n1", "n2")
KINDS = ("jobs step down", "jobs killed", "consumer steps down", "results step down")
"""Whose leader changes, and how."""


async def change_a_leader(kind: str, cluster: Cluster, connection: Connection, load: Load, rng: random.Random) -> None:
    """Have another server lead a stream, or the consumer of the queue, and wait until jobs are enqueued and all is well."""
    names = connection.names
    stream = names.results_stream if kind.startswith("results") else names.jobs_stream
    leader = (await cluster_of(connection, stream))["leader"]
    with load.history.fault(kind):
        if kind.endswith("killed"):
            await asyncio.to_thread(cluster.named(leader).kill)
        elif kind.startswith("consumer"):
            await connection.api(f"CONSUMER.LEADER.STEPDOWN.{stream}.{names.consumer('default')}")
        else:
            await lead(connection, rng.choice([server for server in SERVERS if server != leader]), stream)
        if kind.endswith("killed"):
            await eventually(partial(leads_elsewhere, connection, stream, leader), 30)
        await eventually(partial(goes_on, load, len(load.accepted) + 10), 20)
    if kind.endswith("killed"):
        await asyncio.to_thread(cluster.named(leader).restart)
        for each in (names.jobs_stream, names.results_stream):
            await eventually(partial(is_whole, connection, each), 30)


@pytest.mark.parametrize(
    ("limit", "changes"),
    [
        pytest.param(1, 4, id="short"),
        pytest.param(1, 40, id="long-in-order", marks=LONG),
        pytest.param(3, 40, id="long-three-at-once", marks=LONG),
    ],
)
async def test_leaders_that_change_leave_no_key_standing_still_and_none_out_of_order(
    limit: int, changes: int, cluster: Cluster, connection: Connection, replicated: Settings, history: History, tmp_path: Path
) -> None:
    rng = random.Random(10 + limit)
    accepted: dict[str, list[str]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue("default", settings=replicated))
        load = Load(queue, history, await stack.enter_async_context(Observer(replicated)))
        fleet = stack.enter_context(Fleet(dataclasses.replace(replicated, max_crashes=100), history, tmp_path))
        await set_queue_policy(connection, "default", QueuePolicy(key_limit=limit))
        fleet.start()
        fleet.start()
        await begin(load)
        async with producers(load, accepted, rng, cancels=0.1):
            for number in range(changes):
                await change_a_leader(KINDS[number % len(KINDS)], cluster, connection, load, rng)
        await load.finish(60, is_long=True)
        await eventually(partial(nothing_is_left, connection), 20)
        assert len(fleet.alive()) == 2, fleet.outputs()
    check_keys(history.events(), accepted, limit)
    verify(history.events(), Limits(lease=4, drain=inf))
