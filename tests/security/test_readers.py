"""In every mode: what shows jobs to people unpickles nothing, be it called a result, arguments or an error."""

import time
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import DecodeError, JobRecord, JobState
from naq_core.record import encode_record
from naq_core.serialization import PICKLE
from tests.integration import work
from tests.security.test_json import alarm, happened, look_at_everything
from tests.support.hostile import Mark

__all__ = ["alarm"]


async def test_the_command_line_and_the_dashboard_never_unpickle(queue: Queue, alarm: Path, tmp_path: Path) -> None:
    mark = Mark(tmp_path / "mark")
    waiting = await queue.enqueue(work.large, mark)
    forged = await queue.enqueue(work.large, 3)
    connection = await queue.connection()
    record = JobRecord(
        state=JobState.SUCCEEDED,
        job_id=forged.job_id,
        queue="default",
        result_type=PICKLE,
        result=mark.result(),
        ended_at=time.time(),
    )
    await connection.publish(connection.names.result("default", forged.job_id), encode_record(record))
    await look_at_everything(queue.settings, [waiting.job_id, forged.job_id])
    assert not happened(mark.path, alarm)


async def test_who_asks_for_a_result_does(queue: Queue, alarm: Path, tmp_path: Path) -> None:
    """So that it means something that nothing rang above."""
    job = await queue.enqueue(work.add, 1)
    connection = await queue.connection()
    record = JobRecord(
        state=JobState.SUCCEEDED, job_id=job.job_id, queue="default", result_type=PICKLE, result=Mark(tmp_path / "mark").result()
    )
    await connection.publish(connection.names.result("default", job.job_id), encode_record(record))
    with pytest.raises(DecodeError, match="unpickled"):
        await job.result(10)
    assert happened(alarm)
