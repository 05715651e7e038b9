"""Calling a job's function, and turning whatever it does into an outcome: without a server."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from naq_core import Cancel, EncodeError, JobState, Retry, Snooze
from naq_core.control import JobControl
from naq_core.dependency import ParentOutcome
from naq_core.envelope import EndedJob, Envelope, Fill, JobOptions, Parent
from naq_core.errors import DecodeError
from naq_core.layers import Layer, in_order, load
from naq_core.middleware import Attempt
from naq_core.outcome import JobOutcome
from naq_core.previews import clean_text
from naq_core.retry import RetryPolicy
from naq_core.serialization import JSON, PICKLE, encode_result
from naq_worker import _invoke
from naq_worker._invoke import (
    context_of,
    end_copy,
    format_traceback,
    is_async,
    of_control,
    of_error,
    of_value,
    prepare,
    within,
    within_plain,
)
from naq_worker._shortage import ShortageError
from naq_worker.outcome import Cancelled, Completed, Failed, Outcome, Short, Snoozed

HERE = __name__
RETRIES = RetryPolicy(max_retries=3)


def add(a: int, b: int = 0) -> int:
    return a + b


def dated(at: datetime) -> datetime:
    return at


def note(outcome: JobOutcome, at: datetime) -> None: ...


async def add_async(a: int) -> int:
    return a


class Callers:
    """Objects that are called."""

    async def method(self) -> None: ...

    async def __call__(self) -> None: ...


def envelope(function: Callable[..., Any] = add, body: bytes = b"[[1],{}]", **fields: Any) -> Envelope:
    return Envelope(v=1, id="j", fn=f"{HERE}:{function.__name__}", ct=JSON, body=body, at=5.0, **fields)


def test_a_call_is_decoded_with_its_arguments_converted_if_it_is_json() -> None:
    assert prepare(envelope(), None, PICKLE, ()) == (add, (1,), {})
    found, args, _ = prepare(envelope(dated, b'[["2026-01-02T03:04:05Z"],{}]'), None, PICKLE, ())
    assert (found, args) == (dated, (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),))
    job = Envelope(v=1, id="j", fn=f"{HERE}:dated", ct=PICKLE, body=encode_result(((("2026",)), {}), PICKLE)[1], at=5.0)
    assert prepare(job, None, PICKLE, ())[1] == ("2026",), "what was pickled is passed as it is"
    with pytest.raises(DecodeError):
        prepare(envelope(body=b"garbage"), None, PICKLE, ())


def test_results_of_parents_are_filled_in_where_they_are_wanted() -> None:
    kind, data = encode_result(7, JSON)
    outcomes = (ParentOutcome("p", JobState.SUCCEEDED, "", kind, data),)
    filled = envelope(after=(Parent("p"),), fill=(Fill("b", (0,)),))
    assert prepare(filled, outcomes, PICKLE, ()) == (add, (1,), {"b": 7})
    assert prepare(filled, None, PICKLE, ())[2] == {}, "a child process may not have them"
    assert prepare(envelope(after=(Parent("p"),), tell=True), outcomes, PICKLE, ())[2] == {}


@pytest.mark.parametrize("kind", [JSON, PICKLE])
def test_a_callback_is_told_how_the_job_ended(kind: str) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    given = "2026-01-02T00:00:00Z" if kind == JSON else at
    body = encode_result(((None, given), {}), kind)[1]
    end = EndedJob("ended", "q", "m:f", "dead", error=("ValueError", "no", ""))
    job = Envelope(v=1, id="j", fn=f"{HERE}:note", ct=kind, body=body, at=5.0, end=end)
    _, args, _ = prepare(job, None, PICKLE, ())
    assert args[1:] == (at,)
    assert isinstance(args[0], JobOutcome)
    assert (args[0].job_id, args[0].state) == ("ended", JobState.DEAD)


def test_a_callback_that_wants_no_outcome_keeps_its_arguments() -> None:
    end = EndedJob("ended", "q", "m:f", "succeeded", told=False)
    assert prepare(envelope(dated, b'[["2026-01-02T03:04:05Z"],{}]', end=end), None, PICKLE, ())[1] == (
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def test_a_shortage_while_it_is_read_is_not_the_jobs_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(_invoke, "decode_call", lack)
    with pytest.raises(ShortageError, match=r"the job cannot be read: .*Too many open files") as caught:
        prepare(envelope(), None, PICKLE, ())
    assert caught.value.may_be_the_jobs


def test_the_context_has_the_facts_of_the_job() -> None:
    options = JobOptions(retry=RetryPolicy(max_retries=2), tags=("t",), headers={"a": "b"})
    job = envelope(opt=options, workflow="w", schedule="s")
    stop = object()
    found = context_of(job, "q", 3, 9, 4, (), _stop=stop)
    assert (found.job_id, found.queue, found.function, found.attempt, found.fence) == ("j", "q", f"{HERE}:add", 3, 9)
    assert (found.enqueued_at, found.workflow, found.schedule) == (datetime.fromtimestamp(5, UTC), "w", "s")
    assert (found.tags, found.headers, found.parents) == (("t",), {"a": "b"}, {})
    assert found.max_attempts == 2 + 1 + 4
    assert found._stop is stop
    assert found._retry is options.retry


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (add, False),
        (add_async, True),
        (functools.partial(add_async, 1), True),
        (functools.partial(functools.partial(add, 1)), False),
        (Callers(), True),
        (Callers().method, True),
        (Callers, False),
        (len, False),
    ],
)
def test_functions_that_are_awaited_are_known_by_their_kind(function: Callable[..., Any], expected: bool) -> None:
    assert is_async(function) is expected


class Adding:
    """Middleware that adds its letter to the result."""

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        yield
        attempt.result += "p"


class AddingAsync:
    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        yield
        attempt.result += "a"


def layers() -> list[Layer]:
    return in_order(load([Adding(), AddingAsync()], "test").attempt)


def attempt(function: Callable[..., Any]) -> Attempt:
    return Attempt(context_of(envelope(), "q", 1, 0, 0, None), function, ("r",), {})


async def test_the_result_passes_through_the_layers() -> None:
    async def give(letter: str) -> str:
        return letter

    assert await within(layers(), attempt(give), os.getpid()) == "rpa"
    plain = attempt(str)
    within_plain(layers(), plain, os.getpid())
    assert plain.result == "rp", "the async ones are left to the event loop"


def forked(work: Callable[[], object]) -> tuple[int, str]:
    """Do something in a copy of this process, and return its exit code and what it wrote to standard error."""
    reader, writer = os.pipe()
    copy = os.fork()
    if copy == 0:
        os.dup2(writer, 2)
        try:
            work()
        finally:
            os._exit(77)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]), text


SAID = "naq: a process that a job had forked returned from the job's function, and was ended\n"


def test_a_copy_of_the_process_ends_where_the_function_does(capfd: pytest.CaptureFixture[str]) -> None:
    parent = os.getpid()
    end_copy(parent)

    def drive() -> None:
        async def give(letter: str) -> str:
            return letter

        within(layers(), attempt(give), parent).send(None)

    for work in (lambda: end_copy(parent), lambda: within_plain(layers(), attempt(str), parent), drive):
        assert forked(work) == (1, SAID)
    assert capfd.readouterr().err == ""


def unserializable() -> object:
    return (letter for letter in "ab")


def test_what_a_function_returns_is_its_outcome() -> None:
    outcome = of_value([1], JSON)
    assert isinstance(outcome, Completed)
    assert (outcome.content_type, outcome.result, outcome.text) == (JSON, b"[1]", "[1]")
    assert of_value(Cancel("no"), JSON) == Cancelled("no")


def test_a_result_that_cannot_be_serialized_is_a_failure_or_a_shortage(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = of_value(unserializable(), PICKLE)
    assert isinstance(failed, Failed)
    assert (failed.type, failed.retry) == ("naq_core.errors.EncodeError", False)

    def fail_with(error: BaseException) -> Outcome:
        def encode(*_: object) -> Any:
            raise error

        monkeypatch.setattr(_invoke, "encode_result", encode)
        return of_value(1, JSON)

    for error in (MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")):
        short = fail_with(error)
        assert isinstance(short, Short)
        assert short.may_be_the_jobs
        assert short.reason.startswith("the result cannot be serialized: ")
    caused = EncodeError("the result cannot be pickled")
    caused.__cause__ = MemoryError()
    assert isinstance(fail_with(caused), Short)
    with pytest.raises(KeyError):
        fail_with(KeyError("a bug"))


class Unknown(JobControl):
    """An instruction of another version."""


@pytest.mark.parametrize(
    ("control", "outcome"),
    [
        (Retry(3, "again"), Failed("Retry", "again", delay=3)),
        (Retry(), Failed("Retry", "the job asked to be retried")),
        (Snooze(2, "later"), Snoozed(2, "later")),
        (Cancel("no"), Cancelled("no")),
        (Unknown("what"), Failed("Unknown", "what")),
    ],
)
def test_an_instruction_is_its_outcome_however_it_is_given(control: JobControl, outcome: Outcome) -> None:
    assert of_control(control) == of_value(control, JSON) == of_error(control, None) == outcome


class SilentError(Exception):
    def __str__(self) -> str:
        return ""


class BrokenError(Exception):
    def __str__(self) -> str:
        raise KeyError


def raised(error: BaseException, note: str = "") -> Failed:
    if note:
        error.add_note(note)
    outcome = of_error(error, RETRIES)
    assert isinstance(outcome, Failed)
    assert outcome.error is error
    return outcome


def test_an_error_becomes_text() -> None:
    assert (raised(ValueError("no")).type, raised(ValueError("no")).message) == ("ValueError", "no")
    assert raised(SilentError()).type == f"{HERE}.SilentError"
    assert raised(BrokenError()).message == "<no message: KeyError>"
    long = raised(ValueError("n" + "o" * 3000)).message
    assert long == clean_text("n" + "o" * 3000, _invoke.MESSAGE_LIMIT)
    note = "raised in the middleware m:A"
    assert raised(ValueError("no"), note).message == f"no ({note})"
    assert raised(SilentError(), note).message == note
    assert of_error(ShortageError("no memory", may_be_the_jobs=True), RETRIES) == Short("no memory", may_be_the_jobs=True)


@pytest.mark.parametrize(
    ("policy", "retry"), [(RETRIES, True), (RetryPolicy(max_retries=3, ignore_on=("ValueError",)), False), (None, False)]
)
def test_the_policys_filters_decide_whether_it_may_be_retried(policy: RetryPolicy | None, retry: bool) -> None:
    outcome = of_error(ValueError(), policy)
    assert isinstance(outcome, Failed)
    assert outcome.retry is retry


def run_as(module: str, package: str, inner: Callable[[], object]) -> Callable[[], object]:
    """Return a function of another module that calls this one."""
    names = {"__name__": module, "__package__": package, "inner": inner}
    exec("def between():\n    return inner()\n", names)
    between: Callable[[], object] = names["between"]  # type: ignore[assignment]
    return between


def boom() -> None:
    raise ValueError("no")


def frames_of(call: Callable[[], object]) -> list[str]:
    """Return the functions that the traceback of an attempt shows."""
    try:
        call()
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next if error.__traceback__ else None  # without this function
        shown = format_traceback(error)
        outcome = of_error(error, None)
        assert isinstance(outcome, Failed)
        assert outcome.traceback == shown
        kept, trace = [], error.__traceback__
        while trace is not None:
            kept.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert len(kept) == shown.count("  File "), "the error keeps no more frames than are shown"
        return kept
    raise AssertionError


def test_the_traceback_begins_with_the_jobs_own_frames() -> None:
    of_worker = run_as("__main__", "naq_worker._executors", boom)
    assert frames_of(of_worker) == ["boom"]
    assert frames_of(run_as("naq_core.layers", "naq_core", of_worker)) == ["boom"]
    assert frames_of(run_as("asyncio.runners", "asyncio", boom)) == ["boom"]
    assert frames_of(run_as("naq_core.cron", "naq_core", boom)) == ["between", "boom"], "the job has called it"
    assert frames_of(run_as("shop", "shop", of_worker)) == ["between", "between", "boom"]
    assert frames_of(functools.partial(run_as("__main__", "naq_worker", [].pop))) == ["between"], "a function in C has no frame"


def test_an_error_without_a_traceback_has_one_line() -> None:
    assert format_traceback(ValueError("no")) == "ValueError: no\n"


def deep(left: int) -> None:
    if left:
        (deep if left % 2 else deep_too)(left - 1)
    else:
        boom()


def deep_too(left: int) -> None:
    deep(left)


def test_a_traceback_is_bounded() -> None:
    with pytest.raises(ValueError, match="no") as caught:
        deep(400)
    assert format_traceback(caught.value).count("  File ") == 50
