"""What jobs log with structlog."""

import json
from typing import Any

import pytest
import structlog

from naq_client import Queue
from tests.conftest import RunWorker

SLOW = 60.0

pytestmark = pytest.mark.naq(middleware=("naq_core.telemetry.structlog:Structlog",))


def said() -> dict[str, Any]:
    """Log as a program does that lets structlog merge context variables."""
    log = structlog.wrap_logger(
        structlog.ReturnLogger(), processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()]
    )
    fields: dict[str, Any] = json.loads(log.info("baked", loaves=2))
    return fields


async def said_async() -> dict[str, Any]:
    return said()


@pytest.mark.parametrize("function", [said, said_async])
@pytest.mark.parametrize("process", [False, True])
async def test_what_a_job_logs_has_its_fields(function: Any, process: bool, queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(process=process).enqueue(function)
    async with run_worker():
        fields = {"job_id": job.job_id, "function": job.function_name, "queue": "default", "attempt": 1}
        assert await job.result(SLOW) == {"event": "baked", "loaves": 2, **fields}
    assert structlog.contextvars.get_contextvars() == {}
