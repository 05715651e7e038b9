"""The result of a job as JSON, for programs that wait for it."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter
from litestar.response import Response

from naq_core.errors import JobTimeoutError
from naq_core.inspect import get_job
from naq_core.masks import Mask, masked_value
from naq_core.names import check_place
from naq_core.record import JobRecord, JobState
from naq_core.results import fetch_end, result_bytes
from naq_core.serialization import JSON, decode_json
from naq_core.storage.connection import Connection
from naq_core.tasks import beside
from naq_dashboard.access.roles import Action
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.live.hub import Hub
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["RESULTS", "JobResult", "LastError"]

LONGEST_WAIT = 60.0
LARGEST = 10_000_000
"""Bytes of a result; what is larger is read by a program that can hold it, with `Job.fetch_result`."""

Wait = Annotated[
    float, QueryParameter(ge=0, le=LONGEST_WAIT, description="How many seconds to wait for the job to end, at most 60.")
]


class LastError(msgspec.Struct, kw_only=True):
    """The last error of a dead job."""

    type: str
    message: str
    traceback: str = ""


class JobResult(msgspec.Struct, kw_only=True):
    """How a job has ended, with its result."""

    job_id: str
    queue: str
    state: JobState
    """`succeeded`, `dead`, `cancelled` or `expired`; any other one: it has not ended."""
    result: Any = None
    """What the function returned. Null also where `result_type` is `pickle`."""
    result_type: str = ""
    """How the result is stored: `json`, or `pickle`, which the dashboard does not read. Empty: the job has no result."""
    result_text: str = ""
    """A preview of the result."""
    error: LastError | None = None
    """Of a dead job."""
    reason: str = ""
    """Why it was cancelled, if somebody said so."""
    ended_at: datetime | None = None


@get(
    "/api/jobs/{job_id:str}/result",
    tags=["jobs"],
    responses={202: ResponseSpec(JobResult, description="The job has not ended: ask again.")},
)
async def job_result(request: AnyRequest, job_id: FromPath[str], wait: Wait = 0.0) -> Response[JobResult]:
    """Return the result of a job, or why it has no result; with `wait`, as soon as the job ends.

    The answer is 202 if it has not ended. Secrets are hidden in the result, unless the user may enqueue jobs.
    """
    state = state_of(request)
    mask = None if viewer_of(request).may(Action.ENQUEUE_JOB) else state.mask
    connection = await state.connection()
    name, queue = check_place(job_id)
    record = await _end_of(connection, state.live, name, queue, wait)
    if record is None:
        view = await get_job(connection, name, queue, mask)
        return Response(JobResult(job_id=view.job_id, queue=view.queue, state=view.state), status_code=202)
    return Response(await _result_of(connection, record, mask))


async def _end_of(connection: Connection, live: Hub, job_id: str, queue: str, seconds: float) -> JobRecord | None:
    """Return the record of a job's end; None if it does not come in time, or the dashboard stops before."""
    with live.attended() as ending:
        async with beside(ending.wait()) as closing, beside(fetch_end(connection, job_id, seconds, queue)) as ended:
            await asyncio.wait([closing, ended], return_when=asyncio.FIRST_COMPLETED)
            try:
                return ended.result() if ended.done() else None
            except JobTimeoutError:
                return None


async def _result_of(connection: Connection, record: JobRecord, mask: Mask | None) -> JobResult:
    answer = JobResult(
        job_id=record.job_id,
        queue=record.queue,
        state=record.state,
        reason=_seen(record.reason, mask),
        ended_at=datetime.fromtimestamp(record.ended_at, UTC) if record.ended_at else None,
    )
    if record.state is JobState.SUCCEEDED:
        answer.result_type, answer.result_text = record.result_type, _seen(record.result_text, mask)
        if record.result_type == JSON:
            value = await _value_of(connection, record)
            answer.result = value if mask is None else masked_value(value, mask)
    elif record.state is JobState.DEAD and record.errors:
        last = record.errors[-1]
        answer.error = LastError(type=last.type, message=_seen(last.message, mask), traceback=_seen(last.traceback, mask))
    return answer


async def _value_of(connection: Connection, record: JobRecord) -> Any:
    if record.large is not None and record.large.size > LARGEST:
        detail = f"the result has {record.large.size:,} bytes; the API returns at most {LARGEST:,}: read it with Job.fetch_result"
        raise HTTPException(detail, status_code=413)
    return decode_json(await result_bytes(connection, record), "result")


def _seen(text: str, mask: Mask | None) -> str:
    return text if mask is None else mask(text)


RESULTS: list[Any] = [job_result]
