"""Anything callable can be enqueued, and comes back as what it returns."""

from __future__ import annotations

import asyncio
import functools
import operator
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from naq_client import Queue
from naq_core import EncodeError, JobFailedError
from tests.conftest import RunWorker


def plain(a: int, b: int = 1, *, c: int = 0) -> int:
    return a + b + c


async def coroutine(a: int) -> int:
    await asyncio.sleep(0)
    return a + 1


def returns_a_coroutine(a: int) -> Any:
    return coroutine(a)


@functools.cache
def cached(a: int) -> int:
    return a + 1


def decorated(function: Callable[[int], int]) -> Callable[[int], int]:
    @functools.wraps(function)
    def wrapper(a: int) -> int:
        return function(a) * 10

    return wrapper


@decorated
def wrapped(a: int) -> int:
    return a + 1


@dataclass
class Adder:
    base: int

    def __call__(self, a: int) -> int:
        return self.base + a

    def method(self, a: int) -> int:
        return self.base + a

    async def async_method(self, a: int) -> int:
        return self.base + a

    @classmethod
    def of_class(cls, a: int) -> int:
        return cls(1)(a)

    @staticmethod
    def static(a: int) -> int:
        return a + 1

    class Inner:
        @staticmethod
        def deep(a: int) -> int:
            return a + 1


class AsyncCallable:
    async def __call__(self, a: int) -> int:
        return a + 1


def closure(step: int) -> Callable[[int], int]:
    def add(a: int) -> int:
        return a + step

    return add


def async_closure(step: int) -> Any:
    async def add(a: int) -> int:
        return a + step

    return add


FUNCTIONS: dict[str, Any] = {
    "plain": plain,
    "coroutine": coroutine,
    "returns a coroutine": returns_a_coroutine,
    "cached": cached,
    "decorated": wrapped,
    "lambda": lambda a: a + 1,
    "closure": closure(1),
    "async closure": async_closure(1),
    "partial": functools.partial(plain, b=1),
    "partial of a coroutine": functools.partial(coroutine),
    "partial of a partial": functools.partial(functools.partial(plain, c=0), b=1),
    "method": Adder(1).method,
    "async method": Adder(1).async_method,
    "class method": Adder.of_class,
    "static method": Adder.static,
    "static method of an inner class": Adder.Inner.deep,
    "callable object": Adder(1),
    "async callable object": AsyncCallable(),
    "built-in": functools.partial(operator.add, 1),
    "name": "tests.integration.test_functions:plain",
    "dotted name": "tests.integration.test_functions.plain",
    "name of a static method": "tests.integration.test_functions:Adder.static",
}


@pytest.mark.parametrize("kind", FUNCTIONS)
async def test_whatever_is_callable_runs(kind: str, queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.enqueue(FUNCTIONS[kind], 41)
        assert await job.result(timeout=10) == (420 if kind == "decorated" else 42)


@pytest.mark.parametrize("kind", ["plain", "coroutine", "lambda", "closure", "async closure", "method", "partial"])
async def test_it_runs_in_a_child_process_too(kind: str, queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.options(process=True).enqueue(FUNCTIONS[kind], 41)
        assert await job.result(timeout=30) == 42


async def test_classes_are_callable(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.enqueue(Adder, 5)
        assert await job.result(timeout=10) == Adder(5)


async def test_built_ins_run(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        assert await (await queue.enqueue(len, "four")).result(timeout=10) == 4
        assert await (await queue.enqueue(sorted, [2, 1], reverse=True)).result(timeout=10) == [2, 1]
        assert await (await queue.enqueue(operator.add, 1, 2)).result(timeout=10) == 3


VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    2**70,
    0.5,
    float("inf"),
    "",
    "naïve 🎉",
    "\ud800",
    b"\x00\xff",
    (1, (2,)),
    [1, "two", None],
    {"a": 1, 2: "b"},
    {1, 2},
    datetime(2026, 1, 2, tzinfo=UTC),
    Adder(3),
    ValueError,
]


def make_lock() -> Any:
    return threading.Lock()


def echo(value: Any) -> Any:
    return value


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_values_come_back_as_they_were(value: Any, queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        result = await (await queue.enqueue(echo, value)).result(timeout=10)
        assert result == value
        assert type(result) is type(value)


async def test_exceptions_as_values_are_no_failures(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        result = await (await queue.enqueue(echo, ValueError("x"))).result(timeout=10)
        assert isinstance(result, ValueError)


async def test_defaults_keywords_and_names_like_options_reach_the_function(queue: Queue, run_worker: RunWorker) -> None:
    def mine(timeout: int, max_retries: int = 0, **rest: int) -> dict[str, int]:
        return {"timeout": timeout, "max_retries": max_retries, **rest}

    async with run_worker():
        job = await queue.options(timeout=30).enqueue(mine, timeout=1, max_retries=2, function=3, self=4)
        assert await job.result(timeout=10) == {"timeout": 1, "max_retries": 2, "function": 3, "self": 4}


async def test_plain_functions_run_beside_the_event_loop(queue: Queue, run_worker: RunWorker) -> None:
    def thread() -> int:
        return threading.get_ident()

    async def loop_thread() -> int:
        return threading.get_ident()

    async with run_worker():
        assert await (await queue.enqueue(thread)).result(timeout=10) != threading.get_ident()
        assert await (await queue.enqueue(loop_thread)).result(timeout=10) == threading.get_ident()


async def test_process_jobs_run_in_another_process(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        assert await (await queue.options(process=True).enqueue(os.getpid)).result(timeout=30) != os.getpid()


@pytest.mark.parametrize("argument", [threading.Lock(), (str(each) for each in range(0))], ids=["lock", "generator"])
async def test_what_cannot_be_serialized_is_refused_before_it_is_sent(argument: Any, queue: Queue) -> None:
    with pytest.raises(EncodeError):
        await queue.enqueue(echo, argument)
    assert await queue.purge() == 0


@pytest.mark.parametrize("value", [42, None, "nothing"], ids=repr)
async def test_what_is_not_callable_is_refused(value: Any, queue: Queue) -> None:
    with pytest.raises(EncodeError, match="module:function"):
        await queue.enqueue(value)


async def test_a_function_that_is_not_there_fails_with_its_name(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        with pytest.raises(JobFailedError, match=r"no\.such\.module"):
            await (await queue.enqueue("no.such.module:function")).result(timeout=10)


async def test_a_result_that_cannot_be_serialized_fails_the_job(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        with pytest.raises(JobFailedError, match="EncodeError"):
            await (await queue.enqueue(make_lock)).result(timeout=10)


async def test_wrong_arguments_fail_the_job(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        with pytest.raises(JobFailedError, match="TypeError"):
            await (await queue.enqueue("tests.integration.test_functions:plain", 1, 2, 3)).result(timeout=10)
