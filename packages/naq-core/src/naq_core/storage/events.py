"""What the headers of records and messages say: the server republishes them, so that events cost no publish of their own."""

from datetime import UTC, datetime
from math import isfinite

from naq_core.decoding import whole
from naq_core.previews import clean_text
from naq_core.record import JobRecord, JobState, Progress
from naq_core.storage.subjects import ABOUT, PROGRESS, STATE, state_of_subject
from naq_core.transport.headers import EXPECTED_SEQUENCE, SCHEDULER, parse_headers
from naq_core.views import Event

LONGEST_NAME = 120
LONGEST_NOTE = 120
MOST_NAMES = 1000
_names: dict[str, str] = {}
_KINDS = {
    JobState.QUEUED: "returned",
    JobState.RUNNING: "started",
    JobState.DEAD: "failed",
}
PLACES = {"held": JobState.HELD, "dead": JobState.DEAD, "kept": JobState.CANCELLED}
"""What a job's place in the jobs stream says of its state; in any other it waits for a worker."""
_END_OF_STATE = len(STATE) + 2
_STATE_LINE = f"{STATE}: ".encode()
_FINAL = frozenset(state.value.encode() for state in JobState if state.is_final)


def record_headers(record: JobRecord, revision: int, *, progress: bool = False) -> dict[str, str]:
    """Return the headers of a record's compare-and-set: the expected revision and what events tell.

    Args:
        progress: It was written for its progress or its log lines, not for a change of state.
    """
    headers = {
        EXPECTED_SEQUENCE: str(revision),
        STATE: record.state,
        ABOUT: f"{record.attempt} {record.worker or '-'} {_names.get(record.function) or _name(record.function)}",
    }
    if progress:
        headers[PROGRESS] = _progress_text(record.progress)
    return headers


def _name(function: str) -> str:
    """Return a function's name as it fits a header, and remember it: this is on the path of every job."""
    if len(_names) >= MOST_NAMES:
        _names.clear()
    if function.isascii() and function.isprintable() and len(function) <= LONGEST_NAME:
        name = function
    else:
        name = _one_line(function, LONGEST_NAME)
    _names[function] = name
    return name


def _one_line(text: str, limit: int) -> str:
    """A header is a line, and an event has little room."""
    return clean_text("".join(letter if letter.isprintable() else "?" for letter in text[: 4 * limit]), limit)


def _progress_text(progress: Progress | None) -> str:
    if progress is None:
        return "-"
    total = "-" if progress.total is None else f"{progress.total!r}"
    return f"{progress.done!r} {total} {_one_line(progress.note, LONGEST_NOTE)}"


def is_end(block: bytes) -> bool:
    """Return whether a header block is that of a record that ends its job."""
    start = block.find(_STATE_LINE)
    return start >= 0 and block[start + _END_OF_STATE : block.find(b"\r", start)] in _FINAL


def event_of(subject: str, block: bytes) -> Event | None:
    """Return the event in a republished message, or None for any other message."""
    headers = parse_headers(block)
    tokens = subject.split(".")
    if len(tokens) < 4:
        return None
    event = Event(
        kind="changed",
        at=_instant(headers.get("Nats-Time-Stamp", "")),
        queue=tokens[-2],
        job_id=tokens[-1],
        sequence=_number(headers.get("Nats-Sequence", "")),
    )
    if tokens[-3] == "results":
        _add_record(event, headers)
    else:
        _add_place(event, headers, state_of_subject(subject)[0])
    return event


def _add_record(event: Event, headers: dict[str, str]) -> None:
    try:
        event.state = JobState(headers[STATE])
    except (KeyError, ValueError):
        return  # of another version
    event.kind = _KINDS.get(event.state, event.state.value)
    attempt, _, rest = headers.get(ABOUT, "").partition(" ")
    worker, _, event.function = rest.partition(" ")
    event.attempt = _number(attempt)
    event.worker = "" if worker == "-" else worker
    if PROGRESS in headers:
        event.kind = "progress"
        event.progress = _progress(headers[PROGRESS])


def _add_place(event: Event, headers: dict[str, str], place: str) -> None:
    event.state = PLACES.get(place, JobState.QUEUED)
    if place in PLACES:
        event.kind = place
    else:
        event.kind = "released" if SCHEDULER in headers else "enqueued"


def _progress(text: str) -> Progress | None:
    done, _, rest = text.partition(" ")
    total, _, note = rest.partition(" ")
    try:
        found = Progress(float(done), None if total == "-" else float(total), note)
    except ValueError:
        return None
    return found if isfinite(found.done) and isfinite(found.total or 0.0) else None


def _instant(text: str) -> datetime:
    seconds, _, fraction = text.rstrip("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{seconds}.{fraction[:6]:<06}+00:00")
    except ValueError:
        return datetime.now(UTC)


def _number(text: str) -> int:
    return whole(text) or 0
