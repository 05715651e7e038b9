"""How to test code that enqueues jobs, and the jobs; `pytest examples/testing` runs it.

The fixtures come with naq-core: `pip install "naq-core[testing]" naq-worker`. See `docs/testing.md`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import mail
import pytest

from naq_core import Job, JobFailedError
from naq_core.testing import WorkerRunner

AssertEnqueued = Callable[..., Awaitable[list[Job[Any]]]]


async def test_signing_up_enqueues_a_mail(assert_enqueued: AssertEnqueued) -> None:
    """Nothing runs here: the job waits on the server, and is looked at there."""
    await mail.sign_up("ada@example.org")
    await assert_enqueued(mail.send, args=("ada@example.org",), kwargs={"subject": "Welcome"}, queue="mail", count=1)


async def test_the_mail_is_sent(naq_worker: WorkerRunner) -> None:
    """A real worker runs whatever is enqueued, and ends when nothing is left."""
    job_id = await mail.sign_up("ada@example.org")
    assert await naq_worker.run_until_idle() == 1
    assert await Job.fetch_result(job_id) == "'Welcome' sent to ada@example.org"


@pytest.mark.usefixtures("naq_inline")
async def test_a_wrong_address_is_tried_twice() -> None:
    """Inline: enqueueing returns when the job has run."""
    job = await mail.send.enqueue("ada", "Hello")
    with pytest.raises(JobFailedError, match="no mail address"):
        await job.result(timeout=0)
    record = await Job.fetch_record(job.job_id)
    assert record.attempt == 2
