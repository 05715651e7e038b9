"""A job as it is shown, from its message and its record; nothing is unpickled for it."""

from datetime import UTC, datetime

from naq_core.callback_option import EVENTS
from naq_core.decoding import parse_instant
from naq_core.envelope import Callback, Envelope, JobOptions, decode_envelope
from naq_core.errors import DecodeError
from naq_core.record import UNREADABLE, JobRecord, JobState, UnreadableRecord
from naq_core.storage.events import PLACES
from naq_core.storage.subjects import ALL, ASIDE, FAR_FUTURE, FOR_KEY, WAITS, state_of_subject
from naq_core.transport.direct import Entry
from naq_core.transport.headers import SCHEDULE, SCHEDULE_TARGET
from naq_core.views import JobView


def view_of(record: JobRecord | None, message: Entry | None, *, sequence: int = 0) -> JobView:
    """Return the view of a job of which at least one of the two is there.

    A record whose run differs from the message's tells of an earlier life of the job: then the message alone counts.
    """
    envelope = None if message is None else envelope_of(message)
    if record is not None and not is_of_this_run(record, message, envelope):
        record = None
    if record is None:
        assert message is not None  # noqa: S101 - the caller's promise
        state, queue, job_id = state_of_subject(message.subject)
        view = JobView(job_id=job_id, queue=queue, state=PLACES.get(state, JobState.QUEUED), function=UNREADABLE)
    else:
        view = _of_record(record)
    if message is not None:
        _add_message(view, message, envelope)
    view.sequence = sequence
    return view


def envelope_of(message: Entry) -> Envelope | None:
    """Return the envelope, or None of what is no job."""
    try:
        return decode_envelope(message.data)
    except DecodeError:
        return None


def is_of_this_run(record: JobRecord, message: Entry | None, envelope: Envelope | None) -> bool:
    """Return whether a record tells of the same life of the job as its message."""
    if message is None or envelope is None or isinstance(record, UnreadableRecord):
        return True
    return not record.state.is_final or record.run == envelope.run


def _of_record(record: JobRecord) -> JobView:
    return JobView(
        job_id=record.job_id,
        queue=record.queue,
        function=record.function,
        state=record.state,
        attempt=record.attempt,
        crashes=record.crashes,
        enqueued_at=instant(record.enqueued_at),
        due_at=instant(record.next_at) if record.state is JobState.RETRYING else None,
        started_at=instant(record.started_at),
        ended_at=instant(record.ended_at),
        worker=record.worker,
        arguments=record.arguments,
        result=result_text(record),
        result_type=record.result_type,
        result_size=len(record.result) if record.large is None else record.large.size,
        reason=record.reason,
        errors=record.errors,
        logs=record.logs,
        progress=record.progress,
        workflow=record.workflow,
        schedule=record.schedule,
        tags=record.tags,
        headers=record.headers,
    )


def result_text(record: JobRecord) -> str | None:
    """Return the preview of the result, None before success."""
    return record.result_text if record.state is JobState.SUCCEEDED else None


def _add_message(view: JobView, message: Entry, envelope: Envelope | None) -> None:
    state = state_of_subject(message.subject)[0]
    view.priority = state
    if view.state in {JobState.QUEUED, JobState.HELD}:
        view.state = PLACES.get(state, JobState.QUEUED)  # the record is older than the move
    if state in ASIDE and not view.state.is_final:
        view.state = PLACES[state]  # the process that was requeueing it died on the way
    if state in PLACES:  # its level is that of the subject it becomes ready on
        target = message.headers.get(SCHEDULE_TARGET, "")
        view.priority = target.split(".")[-3] if target.count(".") >= 3 else "normal"
    if view.state is JobState.HELD and WAITS not in message.headers:
        due = message.headers.get(SCHEDULE, "").removeprefix("@at ")
        view.due_at = None if due == FAR_FUTURE else parse_instant(due)
    if envelope is None:
        return
    view.function = envelope.fn
    if envelope.given is None or "max_retries" in envelope.given:  # else the worker takes the task's
        view.max_attempts = envelope.opt.retry.max_retries + 1
    view.enqueued_at = instant(envelope.at)
    view.expires_at = instant(envelope.expires)
    view.arguments = envelope.args
    view.parents = list(envelope.parents)
    view.workflow = envelope.workflow
    view.schedule = envelope.schedule
    view.tags, view.headers = envelope.opt.tags, envelope.opt.headers
    if envelope.opt.has_callbacks:
        view.callbacks = _calls(envelope.opt)
    view.signal = envelope.signal
    token = message.headers.get(FOR_KEY, "") if view.state is JobState.HELD else ""
    view.key, view.waits_for_key, view.waits_for_rate = envelope.opt.key, token not in {"", ALL}, token == ALL


def _calls(options: JobOptions) -> dict[str, list[str]]:
    found: dict[str, tuple[Callback, ...]] = {event: getattr(options, event) for event in EVENTS}
    return {event: [_call(each) for each in callbacks] for event, callbacks in found.items() if callbacks}


def _call(callback: Callback) -> str:
    arguments = ", ".join(part for part in ("<outcome>" if callback.told else "", callback.args) if part)
    return f"{callback.fn}({arguments})"


def instant(seconds: float) -> datetime | None:
    """Return seconds since the epoch as a time, None for 0 or what no time can be."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (OverflowError, ValueError, OSError):
        return None
