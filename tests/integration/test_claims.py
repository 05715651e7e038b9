"""Whose a job is, by its record and by the presence of the worker that the record names."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from naq_core import Connection, JobRecord, JobState, Settings
from naq_core.server import EmbeddedServer
from naq_core.storage.topology import ensure_streams
from naq_worker._claim import Claims, Owner
from naq_worker._suspects import Isolation
from tests.support.eventually import eventually
from tests.support.proxy import Proxy

CLAIMED_AT = 1000.0


def claims_of(connection: Connection) -> Claims:
    async def put_off(*_: object) -> None:
        """No suspect is handed back here."""

    return Claims(connection, "me", Isolation(lambda: True, lambda: None), put_off)


def claimed_by(worker: str) -> JobRecord:
    return JobRecord(JobState.RUNNING, "j", "default", worker=worker, started_at=CLAIMED_AT)


async def announce(connection: Connection, worker: str, **presence: Any) -> None:
    await ensure_streams(connection)
    body = {"worker_id": worker, "running": {}, **presence}
    await connection.publish(connection.names.worker(worker), json.dumps(body).encode(), {})


@pytest.mark.parametrize(
    ("presence", "owner"),
    [
        pytest.param({"at": CLAIMED_AT + 1, "running": {"j": CLAIMED_AT}}, Owner.RUNS_IT, id="it lists the job"),
        pytest.param({"at": CLAIMED_AT + 1}, Owner.GONE, id="it is younger than the claim and does not list the job"),
        pytest.param({"at": CLAIMED_AT - 1}, Owner.RUNS_IT, id="it is older than the claim, so it cannot list the job"),
        pytest.param({"at": CLAIMED_AT}, Owner.RUNS_IT, id="it is as old as the claim"),
        pytest.param({"at": CLAIMED_AT + 1, "unrecorded": ["j"]}, Owner.COULD_NOT_RECORD, id="the end was refused"),
        pytest.param({"at": CLAIMED_AT - 1, "unrecorded": ["j"]}, Owner.RUNS_IT, id="the end of an earlier attempt was refused"),
    ],
)
async def test_the_presence_of_a_worker_says_whether_it_still_runs_the_job(
    naq_connection: Connection, presence: dict[str, Any], owner: Owner
) -> None:
    await announce(naq_connection, "other", **presence)
    assert await claims_of(naq_connection)._owner(claimed_by("other")) is owner


@pytest.mark.parametrize(("unrecorded", "owner"), [((), Owner.GONE), (("j",), Owner.COULD_NOT_RECORD)])
async def test_a_worker_that_is_given_its_own_job_again_knows_why(
    naq_connection: Connection, unrecorded: tuple[str, ...], owner: Owner
) -> None:
    claims = claims_of(naq_connection)
    claims.unrecorded.extend(unrecorded)
    assert await claims._owner(claimed_by("me")) is owner


async def test_a_missing_presence_means_death_unless_the_server_may_have_lost_it(
    settings: Settings, nats_server: EmbeddedServer
) -> None:
    """Presence expires while the server is away; a worker that lives renews it within `worker_ttl` of its reconnect."""
    async with Proxy(nats_server.port) as proxy, Connection(replace(settings, nats_url=proxy.url)) as connection:
        await ensure_streams(connection)
        claims, record = claims_of(connection), claimed_by("other")
        assert await claims._owner(record) is Owner.GONE

        proxy.reset()

        def is_connected_again() -> None:
            assert connection.generation == 1

        await eventually(is_connected_again)
        assert await claims._owner(record) is Owner.RUNS_IT
        connection.connected_at -= settings.worker_ttl.total_seconds()
        assert await claims._owner(record) is Owner.GONE
