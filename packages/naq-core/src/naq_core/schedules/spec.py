"""What a recurring schedule is: when it fires, what it enqueues, and what happens when things overlap or come late."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec

from naq_core._suggest import meant
from naq_core.cron import find_zone, parse_cron
from naq_core.decoding import Duration
from naq_core.delivery_options import NO_DELIVERY_OPTIONS
from naq_core.envelope import Envelope, decode_envelope, encode_envelope
from naq_core.errors import ConfigurationError, DecodeError, InvalidScheduleError
from naq_core.job import Job
from naq_core.names import check_queue, check_schedule_id
from naq_core.option_set import OptionSet
from naq_core.options import ENQUEUE_OPTIONS, SCHEDULE_OPTIONS, check_names, read_options
from naq_core.values import text

SHORTEST_RESULT_TTL = 600.0

T = TypeVar("T")

_MICROSECOND = timedelta(microseconds=1)


class ScheduleSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A schedule as it was asked for; `make_spec` checks one. Times are aware and in UTC."""

    schedule_id: str
    queue: str
    template: bytes
    """The job it enqueues, as an envelope without an id. Never decoded to be shown or fired: only the worker unpickles."""
    cron: str | None = None
    interval: Annotated[float, msgspec.Meta(ge=0.01, le=1e9)] | None = None
    """Seconds."""
    timezone: str = "UTC"
    start_at: datetime | None = None
    """No firing before it; an interval counts from it."""
    end_at: datetime | None = None
    """No firing after it."""
    max_runs: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    jitter: Duration = 0.0
    """Each firing is up to this many seconds late, on purpose; how much is fixed by id and time."""
    overlap: str = "allow"
    misfire: str = "once"
    grace: Duration | None = 60.0
    """A firing this many seconds late still counts as in time; None: however late."""
    expires_in: Duration = 0.0
    """A job is not to be started more than so many seconds after its firing; 0: never too late."""
    origin: str = ""

    @property
    def timing(self) -> tuple[object, ...]:
        """What decides when it fires; a change restarts the sequence of times."""
        return self.cron, self.interval, self.timezone, self.start_at

    def job(self) -> Envelope:
        """Return the template."""
        return decode_envelope(self.template)

    def times(self, anchor: datetime, after: datetime) -> Iterator[datetime]:
        """Yield the nominal times later than `after`.

        Args:
            anchor: What an interval without `start_at` counts from.
        """
        if self.start_at is not None and after < self.start_at:
            after = self.start_at - _MICROSECOND
        while (found := self._next(anchor, after)) is not None and (self.end_at is None or found <= self.end_at):
            yield found
            after = found

    def _next(self, anchor: datetime, after: datetime) -> datetime | None:
        if self.cron is not None:
            return parse_cron(self.cron, self.timezone).after(after)
        step = timedelta(seconds=self.interval or 0)
        first = self.start_at or anchor + step
        try:
            # Whole numbers of steps from the anchor: nothing adds up to a drift.
            return first if after < first else first + ((after - first) // step + 1) * step
        except OverflowError:
            return None

    def delay(self, nominal: datetime) -> timedelta:
        """Return the jitter of one firing: the same on every machine."""
        return delay_of(self.schedule_id, self.jitter, nominal)


def check_spec(spec: ScheduleSpec) -> None:
    """Refuse a stored specification that could not be fired.

    Raises:
        ValueError: A value of it cannot be.
    """
    check_schedule_id(spec.schedule_id)
    check_queue(spec.queue)
    if (spec.cron is None) == (spec.interval is None):
        raise ValueError("it must have either a cron expression or an interval")
    if spec.cron is not None:
        parse_cron(spec.cron, spec.timezone)
    find_zone(spec.timezone)
    for name in ("overlap", "misfire"):
        SCHEDULE_OPTIONS[name].kind.check(getattr(spec, name), name)
    try:
        spec.job()
    except DecodeError as error:
        raise ValueError(str(error)) from error


def delay_of(schedule_id: str, jitter: float, nominal: datetime) -> timedelta:
    """Return how much later than `nominal` a firing is due: up to `jitter` seconds, the same on every machine."""
    if not jitter:
        return timedelta()
    seed = hashlib.blake2b(f"{schedule_id} {nominal.isoformat()}".encode(), digest_size=8).digest()
    return timedelta(seconds=jitter * int.from_bytes(seed) / 2**64)


def make_spec(job: Job[Any], *, origin: str = "", **options: Any) -> ScheduleSpec:
    """Check and bundle a schedule.

    Args:
        job: The call to enqueue, with its queue and options; its id is not used.
        origin: Who declares it, so that it is removed when it is not declared any more.
        options: Those of `naq_core.options.ScheduleOptions`, with `schedule_jitter` as `jitter`.

    Raises:
        InvalidScheduleError: A value is wrong; names it and what is allowed. InvalidNameError: The id is.
        EncodeError: The call cannot be serialized.
    """
    timing = {name: _checked(name, value) for name, value in options.items()}
    cron, zone = timing.get("cron"), timing.get("timezone", "UTC")
    if (cron is None) == (timing.get("interval") is None):
        raise InvalidScheduleError("cron and interval", (cron, timing.get("interval")), "give one of the two")
    find_zone(zone)
    if cron is not None:
        parse_cron(cron, zone)
    start, end = timing.get("start_at"), timing.get("end_at")
    if start is not None and end is not None and end < start:
        raise InvalidScheduleError("end_at", end.isoformat(), f"is before start_at ({start.isoformat()})")
    _check_options(job)
    timing["schedule_id"] = timing.get("schedule_id") or ""
    template = job.serialize()
    origin = _named("origin", origin, text)
    spec = ScheduleSpec(queue=job.queue, template=template, expires_in=job.delivery.expires_in, origin=origin, **timing)
    return msgspec.structs.replace(
        spec,
        schedule_id=spec.schedule_id or _derived_id(spec),
        template=_anonymous(template),
    )


def _checked(name: str, value: object) -> Any:
    option = SCHEDULE_OPTIONS.get(name)
    if option is None:
        advice = meant(name, SCHEDULE_OPTIONS) or f"; the options are {', '.join(sorted(SCHEDULE_OPTIONS))}"
        raise InvalidScheduleError("option", name, f"does not exist{advice}")
    return None if value is None and option.is_nullable else _named(name, value, option.kind.check)


def _named(name: str, value: object, check: Callable[[Any, str], T]) -> T:
    """Return what a check returns; a wrong value of a schedule has an error of its own."""
    try:
        return check(value, name)
    except ConfigurationError as error:
        raise InvalidScheduleError(name, value, error.problem) from None


def make_named_spec(
    function: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    queue: str = "default",
    serializer: str | None = None,
    options: OptionSet | Mapping[str, Any] | None = None,
    **schedule: Any,
) -> ScheduleSpec:
    """Make a schedule of a function that is named as `"module:function"`, for the CLI, the dashboard and settings files.

    Args:
        serializer: `pickle` or `json`; by default the setting `job_serializer`.
        options: Job options, checked, or as they are written in a settings file, such as `{"max_retries": 3, "timeout": "30s"}`.
        schedule: As of `make_spec`.

    Raises:
        InvalidScheduleError, InvalidOptionError, InvalidNameError, EncodeError: A value is wrong; names it.
    """
    if not isinstance(options, OptionSet):
        check_names(options or {}, ENQUEUE_OPTIONS, "a schedule's jobs")
        options = OptionSet(read_options(options or {}, datetime.now(UTC)))
    job: Job[Any] = Job(function, args, kwargs, queue=queue, serializer=serializer, options=options)
    return make_spec(job, **schedule)


def firing_id(schedule_id: str, nominal: datetime) -> str:
    """Return the id of the job of one firing: schedule and nominal time in UTC, such as `digest=20261124T093000Z`."""
    nominal = nominal.astimezone(UTC)
    fraction = f"-{nominal.microsecond:06d}" if nominal.microsecond else ""
    return f"{schedule_id}={nominal:%Y%m%dT%H%M%S}{fraction}Z"


def _derived_id(spec: ScheduleSpec) -> str:
    """Make an id of what is scheduled and when, so that the same call made again is the same schedule."""
    job = spec.job()
    name = re.sub(r"[^A-Za-z0-9_]+", "-", job.fn.rpartition(":")[2]).strip("-")[:40] or "schedule"
    parts = (job.fn, spec.queue, job.args, str(spec.cron), str(spec.interval), spec.timezone)
    return f"{name}-{hashlib.blake2b(chr(0).join(parts).encode(), digest_size=4).hexdigest()}"


def _anonymous(template: bytes) -> bytes:
    return encode_envelope(msgspec.structs.replace(decode_envelope(template), id="", at=0.0, expires=0.0))


def _check_options(job: Job[Any]) -> None:
    if job.wiring.after:
        raise InvalidScheduleError("depends_on or wait_for", job.function_name, "a schedule's jobs cannot wait for others")
    if job.options.fast:
        raise InvalidScheduleError("fast", True, "without a record a run could be repeated; remove it")
    if job.delivery._replace(expires_in=0.0) != NO_DELIVERY_OPTIONS:
        raise InvalidScheduleError(
            "at, delay, unique, debounce or expires",
            job.function_name,
            "a schedule has its own times: only expires=<seconds> is allowed",
        )
    check_result_ttl(job.options.result_ttl)


def check_result_ttl(ttl: float | None) -> None:
    """Refuse a time for which the record of a firing would be kept, if it is too short.

    Raises:
        InvalidScheduleError: It is.
    """
    if ttl is not None and ttl < SHORTEST_RESULT_TTL:
        raise InvalidScheduleError(
            "result_ttl", ttl, f"the record of a run prevents a second one: use at least {SHORTEST_RESULT_TTL:g} s"
        )
