"""The words with which people filter jobs, in the terminal and in the dashboard's search field."""

import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Any

import msgspec

from naq_core.delivery_options import unique_id
from naq_core.errors import InvalidOptionError
from naq_core.names import check_queue
from naq_core.record import JobState
from naq_core.settings import parse_duration
from naq_core.values import aware, text
from naq_core.views import JobFilter

_FIELDS = {
    "state": "states",
    "queue": "queue",
    "function": "function",
    "task": "function",
    "worker": "worker",
    "workflow": "workflow",
    "schedule": "schedule",
    "error": "error",
    "since": "since",
    "until": "until",
    "id": "text",
    "key": "text",
    "tag": "tags",
    "header": "headers",
    "arg": "arguments",
}
FIELDS = ("queue", "function", "worker", "workflow", "schedule", "error")
"""The fields of a filter that hold one text."""
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
_PATHS = ("header", "arg")
"""Fields with a name or a path of their own: `header.customer:4711`."""
_TEXTS = ("function", "worker", "workflow", "schedule", "text", "error")
_STATES = {
    "failed": JobState.DEAD,
    "scheduled": JobState.HELD,
    "delayed": JobState.HELD,
    "waiting": JobState.QUEUED,
    "done": JobState.SUCCEEDED,
}


def parse_filter(words: str | Iterable[str], *, now: datetime | None = None, zone: tzinfo = UTC) -> JobFilter:
    """Turn `state:dead queue:emails since:2h alice` into a filter; words without a field are searched as text.

    Args:
        words: One line, in which quotes keep words together, or words.
        now: What durations in `since:` and `until:` count back from; by default the present.
        zone: In which times in `since:` and `until:` are that name none.

    Raises:
        InvalidOptionError: The field or the value does not exist; lists those that do.
    """
    if isinstance(words, str):
        try:
            words = shlex.split(words)
        except ValueError as error:
            raise InvalidOptionError("filter", f"{words!r}: {error}") from error
    found: dict[str, Any] = {}
    states: set[JobState] = set()
    text: list[str] = []
    for word in words:
        name, colon, value = word.partition(":")
        field, _, path = name.partition(".")
        if colon and path and field in _PATHS:
            found[_FIELDS[field]] = (*found.get(_FIELDS[field], ()), (path, value))
        elif not colon or not name.isidentifier():
            text.append(word)
        elif name == "state":
            states.update(parse_state(each) for each in value.split(","))
        elif name == "id":
            text.append(value)
        elif name == "key":
            text.append(unique_id(value))
        elif name == "tag":
            found["tags"] = (*found.get("tags", ()), value)
        else:
            is_time = name in {"since", "until"}
            found[_known(name)] = parse_instant(value, now=now, setting=name, zone=zone) if is_time else value
    return JobFilter(states=frozenset(states), text=" ".join(text), **found)


def _known(name: str) -> str:
    """Return which field of a filter a word names that holds one value."""
    if name in _PATHS:
        example = "header.customer:4711" if name == "header" else "arg.customer:4711, or arg.0.id:5"
        raise InvalidOptionError("filter", f"{name}: has no name after it: write {example}")
    if name not in _FIELDS:
        raise InvalidOptionError("filter", f"unknown field {name!r}{_meant(name, _FIELDS)}; use {_listed(_FIELDS)}")
    return _FIELDS[name]


def build_filter(
    words: str | Iterable[str],
    fields: Mapping[str, str | None],
    states: Iterable[str] = (),
    tags: Iterable[str] = (),
    *,
    now: datetime | None = None,
    zone: tzinfo = UTC,
) -> JobFilter:
    """Put search words and fields together, as a command's options or a form's have them; a given field replaces the word's.

    Args:
        words: As for `parse_filter`.
        fields: Texts of `FIELDS`, `since` and `until`; None and the empty text mean that it is not given. Others are ignored.
        states: Names of states, or several separated by commas.
        tags: Words, beside those of the search words.
        now: As for `parse_filter`.
        zone: As for `parse_filter`.

    Raises:
        InvalidOptionError: Unknown field or state, or an invalid time.
    """
    found = parse_filter(words, now=now, zone=zone)
    changes: dict[str, Any] = {name: value for name in FIELDS if (value := fields.get(name))}
    if names := [name for each in states for name in each.split(",")]:
        changes["states"] = frozenset(parse_state(name) for name in names)
    for name in ("since", "until"):
        if text := fields.get(name):
            changes[name] = parse_instant(text, now=now, setting=name, zone=zone)
    changes["tags"] = (*found.tags, *(tag for tag in tags if tag))
    return msgspec.structs.replace(found, **changes)


def check_filter(wanted: JobFilter) -> JobFilter:
    """Return a filter made by a program, with the exact values that are then compared; times in UTC.

    Raises:
        InvalidOptionError, InvalidNameError: A field has the wrong type, or a value that no job can have; names it.
    """
    states: object = wanted.states
    if isinstance(states, str) or not isinstance(states, Iterable):
        raise InvalidOptionError("states", f"must be a set of states, not {states!r}")
    exact: dict[str, Any] = {name: text(getattr(wanted, name), name) for name in _TEXTS}
    exact |= {name: aware(at, name) for name in ("since", "until") if (at := getattr(wanted, name)) is not None}
    exact["states"] = frozenset(parse_state(text(each, "states")) for each in states)
    exact["tags"] = _texts(wanted.tags, "tags")
    exact |= {name: _pairs(getattr(wanted, name), name) for name in ("headers", "arguments")}
    exact["queue"] = ",".join(check_queue(each) for each in wanted.queues)
    return JobFilter(**exact)


def _texts(value: object, name: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidOptionError(name, f"must be a list of texts, not {value!r}")
    return tuple(text(each, name) for each in value)


def _pairs(value: object, name: str) -> tuple[tuple[str, str], ...]:
    """Return names and values, also of a mapping."""
    pairs = value.items() if isinstance(value, Mapping) else value
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise InvalidOptionError(name, f"must be a mapping or pairs of texts, not {value!r}")
    found = [_texts(each, name) for each in pairs]
    for each in found:
        if len(each) != 2 or not each[0]:
            raise InvalidOptionError(name, f"must be pairs of a name and a text, not {each!r}")
    return tuple((key, value) for key, value in found)


def describe_filter(wanted: JobFilter) -> str:
    """Return the words that `parse_filter` turns into this filter; empty where it matches everything."""
    words = [f"state:{','.join(sorted(wanted.states))}"] if wanted.states else []
    words += [f"{name}:{value}" for name in FIELDS if (value := getattr(wanted, name))]
    words += [f"tag:{tag}" for tag in wanted.tags]
    words += [f"header.{name}:{value}" for name, value in wanted.headers]
    words += [f"arg.{path}:{value}" for path, value in wanted.arguments]
    words += [f"{name}:{at.isoformat()}" for name in ("since", "until") if (at := getattr(wanted, name)) is not None]
    return shlex.join([*words, f"id:{wanted.text}"] if wanted.text else words)


def explain_filter(wanted: JobFilter, zone: tzinfo = UTC) -> list[tuple[str, str]]:
    """Return how search words were understood: what is looked at, and what it has to be; times in a zone."""
    found = [("state", " or ".join(sorted(wanted.states)))] if wanted.states else []
    found += [
        (name, " or ".join(value.split(",")) if name == "queue" else value) for name in FIELDS if (value := getattr(wanted, name))
    ]
    found += [("tag", tag) for tag in wanted.tags]
    found += [(f"header {name}", value) for name, value in wanted.headers]
    found += [(f"argument {path}", value) for path, value in wanted.arguments]
    times = [(name, at.astimezone(zone)) for name in ("since", "until") if (at := getattr(wanted, name))]
    found += [(f"enqueued {name}", f"{at:%Y-%m-%d %H:%M:%S %Z}") for name, at in times]
    return [*found, ("id, arguments or error with", wanted.text)] if wanted.text else found


def meant_states(wanted: JobFilter) -> list[str]:
    """Return the words for states among the text that is searched for: who types `dead` may mean `state:dead`."""
    known = {*_STATES, *map(str, JobState)}
    return [word for word in wanted.text.lower().split() if word in known]


def parse_state(text: str) -> JobState:
    """Return the state of that name; `failed` means dead, `scheduled` and `delayed` held, `waiting` queued, `done` succeeded.

    Raises:
        InvalidOptionError: The text is not the name of a state.
    """
    name = text.strip().lower()
    if name in _STATES:
        return _STATES[name]
    try:
        return JobState(name)
    except ValueError:
        known = [str(state) for state in JobState]
        raise InvalidOptionError("state", f"unknown state {text!r}{_meant(name, known)}; use {_listed(known)}") from None


def parse_instant(
    text: str, *, now: datetime | None = None, setting: str = "time", ahead: bool = False, zone: tzinfo = UTC
) -> datetime:
    """Return a point in time from a duration (`2h`: two hours ago), a time of day (`18:00`) or from ISO 8601 text.

    Args:
        text: Without a zone it is in `zone`.
        now: What a duration counts from; by default the present.
        setting: What an error calls it.
        ahead: A duration counts forward instead of back, and a time of day is the next one instead of the last.
        zone: By default UTC.

    Raises:
        InvalidOptionError: It is neither.
    """
    now = now or datetime.now(UTC)
    try:
        duration = parse_duration(text)
        return now + duration if ahead else now - duration
    except (ValueError, OverflowError):
        pass
    if (of_day := _TIME_OF_DAY.fullmatch(text.strip())) and int(of_day[1]) < 24:
        return _at_time_of_day(now, int(of_day[1]), int(of_day[2]), zone, ahead=ahead)
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        example = "2026-11-24T12:30:00Z"
        raise InvalidOptionError(
            setting, f"{text!r} is neither a duration (30s, 2h, 7d), nor a time of day (18:00), nor a time ({example})"
        ) from None
    return aware(instant if instant.tzinfo is not None else instant.replace(tzinfo=zone), setting)


def _at_time_of_day(now: datetime, hour: int, minute: int, zone: tzinfo, *, ahead: bool) -> datetime:
    """Return the next or the last time at which clocks of the zone show it."""
    here = now.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0)
    if ahead and here <= now:
        here += timedelta(days=1)
    elif not ahead and here > now:
        here -= timedelta(days=1)
    return here.astimezone(UTC)


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
