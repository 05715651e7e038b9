"""Whatever a checker accepts is an exact value, within its range, and means what was given; the rest is a typed error."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import Enum, IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naq_core import ConfigurationError, EncodeError, InvalidNameError, InvalidScheduleError, Job, Settings
from naq_core.filters import check_filter
from naq_core.functions import checked_name
from naq_core.names import check_job_id, check_queue, check_queue_or_any, check_workflow_id
from naq_core.option_set import OptionSet
from naq_core.record import JobState
from naq_core.schedules import check_schedule_id, make_spec
from naq_core.serialization import encode_call
from naq_core.values import aware, flag, number, patience, seconds, text, whole
from naq_core.views import JobFilter
from naq_worker._fair_share import FairShare

TYPED = (ConfigurationError, InvalidNameError, InvalidScheduleError, EncodeError)


class Text(str):
    """Looks like text, and shows itself as something else wherever it is used."""

    __slots__ = ()

    def __str__(self) -> str:
        return "changed by str()"

    def __format__(self, form: str) -> str:
        return "changed by format()"


class Number(int):
    def __str__(self) -> str:
        return "changed by str()"


class Real(float):
    def __str__(self) -> str:
        return "changed by str()"


class Moment(datetime):
    def timestamp(self) -> float:
        return 0.0


class Broken(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        raise RuntimeError("broken")

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> None:
        return None


class Names(str, Enum):  # noqa: UP042 - a StrEnum is formatted as its value: that is the difference
    MAIL = "mail"
    HIGH = "high"
    ZONE = "Europe/Berlin"


class Counts(IntEnum):
    THREE = 3


texts = st.text(max_size=20)
subclasses = st.one_of(
    texts.map(Text),
    st.sampled_from([*Names, *Counts]),
    st.integers().map(Number),
    st.floats().map(Real),
    st.datetimes(timezones=st.none() | st.just(UTC)).map(lambda at: Moment.combine(at.date(), at.timetz())),
)
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**5000),
    st.floats(),
    texts,
    st.binary(max_size=5),
    st.timedeltas(),
    st.datetimes(timezones=st.none() | st.just(UTC) | st.just(ZoneInfo("Pacific/Apia"))),
    st.just(datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["default", "high", "UTC", "*", "mod:function", "a.b", "30s", "refuse"]),
    subclasses,
)

CHECKERS: dict[str, tuple[Callable[[Any], Any], tuple[type, ...]]] = {
    "queue": (check_queue, (str,)),
    "queue or any": (check_queue_or_any, (str,)),
    "job id": (check_job_id, (str,)),
    "workflow id": (check_workflow_id, (str,)),
    "schedule id": (check_schedule_id, (str,)),
    "text": (lambda value: text(value, "x"), (str,)),
    "whole": (lambda value: whole(value, "x", 0), (int,)),
    "number": (lambda value: number(value, "x", 0, 10), (float,)),
    "seconds": (lambda value: seconds(value, "x"), (float,)),
    "patience": (patience, (float, type(None))),
    "flag": (lambda value: flag(value, "x"), (bool,)),
    "aware": (lambda value: aware(value, "x"), (datetime,)),
    "max_retries": (lambda value: OptionSet({"max_retries": value}).job.retry.max_retries, (int,)),
    "priority": (lambda value: OptionSet({"priority": value}).job.priority, (str,)),
    "strategy": (lambda value: OptionSet({"retry_strategy": value}).job.retry.strategy, (str,)),
    "unique": (lambda value: OptionSet({"unique": value, "on_clash": "return"}).delivery.unique, (str,)),
    "at": (lambda value: OptionSet({"at": value}).delivery.at, (float,)),
    "timezone": (lambda value: make_spec(Job("a:b"), cron="0 0 * * *", timezone=value).timezone, (str,)),
    "max_runs": (lambda value: make_spec(Job("a:b"), interval=60, max_runs=value).max_runs, (int, type(None))),
    "overlap": (lambda value: make_spec(Job("a:b"), interval=60, overlap=value).overlap, (str,)),
    "interval": (lambda value: make_spec(Job("a:b"), interval=value).interval, (float,)),
    "concurrency": (lambda value: Settings(concurrency=value).concurrency, (int,)),
    "namespace": (lambda value: Settings(namespace=value).namespace, (str,)),
    "duration": (lambda value: Settings(result_ttl=value).result_ttl, (timedelta,)),
    "weight": (lambda value: (FairShare({"a": value}).weights or {})["a"], (float,)),
    "filter": (lambda value: check_filter(JobFilter(function=value)).function, (str,)),
    "since": (lambda value: check_filter(JobFilter(since=value)).since, (datetime, type(None))),
}


@pytest.mark.parametrize("name", CHECKERS)
@settings(deadline=None)  # the first parse of a cron expression imports its parser
@given(value=anything)
def test_what_is_accepted_is_exact_and_the_rest_is_a_typed_error(name: str, value: object) -> None:
    check, exact = CHECKERS[name]
    try:
        found = check(value)
    except TYPED:
        return
    assert type(found) in exact
    if type(found) is float:
        assert math.isfinite(found)
    if type(found) is datetime:
        assert found.tzinfo is UTC
        assert isinstance(value, datetime)
        assert found == value.astimezone(UTC)  # an ambiguous time equals nothing in another zone
    if isinstance(value, str) and type(found) is str:
        assert found == str.__str__(value)


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("ab.:_ 1<>", max_size=12))
def test_a_name_of_a_function_is_accepted_just_where_it_could_be_imported(name: str) -> None:
    try:
        path = checked_name(name)
    except EncodeError:
        assert (
            not all(part.isidentifier() for part in name.replace(":", ".").split(".")) or name.count(":") > 1 or "." not in name
        )
        return
    module, _, qualname = path.partition(":")
    assert all(part.isidentifier() for part in (*module.split("."), *qualname.split(".")))


@pytest.mark.parametrize(
    "name", ["foo bar", "", "print", ":f", "m:", "m:f.<locals>.g", "m:<lambda>", "m:f:g", "a..b:c", "1a:f", "m:f\n"]
)
def test_what_cannot_name_a_function_is_refused(name: str) -> None:
    with pytest.raises(EncodeError, match="write 'module:function'"):
        encode_call(name, (), {}, "pickle")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_retries": 10**30}, "max_retries"),
        ({"max_retries": True}, "max_retries"),
        ({"max_retries": 2.0}, "max_retries"),
        ({"retry_delay": b"ab"}, "retry_delay"),
        ({"retry_delay": "12"}, "retry_delay"),
        ({"retry_on": None}, "retry_on"),
        ({"retry_on": ["no such name"]}, "retry_on"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": timedelta.max}, "timeout"),
        ({"process": "false"}, "process"),
        ({"fast": 1}, "fast"),
        ({"parent_results": "no"}, "parent_results"),
        ({"depends_on": "parent", "allow_failure": "no"}, "allow_failure"),
        ({"args": "ab"}, "args"),
        ({"kwargs": ["a"]}, "kwargs"),
        ({"kwargs": {1: 2}}, "kwargs"),
        ({"options": {"timeout": 3}}, "options"),
    ],
)
def test_a_job_is_not_made_of_what_a_worker_could_not_use(options: dict[str, Any], named: str) -> None:
    with pytest.raises(TYPED, match=named):
        Job("math:sqrt", **options)


def test_a_time_zone_that_raises_is_the_values_fault() -> None:
    with pytest.raises(ConfigurationError, match="cannot be expressed in UTC: broken"):
        aware(datetime(2030, 1, 1, tzinfo=Broken()), "at")


def test_an_expiry_before_the_epoch_does_not_mean_never() -> None:
    with pytest.raises(ConfigurationError, match="expires"):
        OptionSet({"expires": datetime(1970, 1, 1, tzinfo=UTC)})


def test_a_unit_of_a_subclass_is_not_an_unexpected_format() -> None:
    assert f"{check_queue(Names.MAIL)}" == "mail"
    assert f"{check_job_id(Text('job'))}" == "job"
    assert check_filter(JobFilter(states=frozenset({"dead"}))).states == {JobState.DEAD}  # type: ignore[arg-type]  # the point
