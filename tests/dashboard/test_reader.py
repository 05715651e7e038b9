"""Answers that several readers share, and those that are returned while a newer one is read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from naq_core import NaqError, Settings
from naq_dashboard.nats import Broker
from naq_dashboard.queries.reader import Reader
from tests.support.eventually import eventually


class Question:
    """Answers with the number of the call, once it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    async def __call__(self, connection: Any) -> int:
        del connection
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return number


@pytest.fixture
async def read(settings: Settings) -> Any:
    broker = Broker(settings)
    reader = Reader(broker, str)
    yield reader
    await reader.close()
    await broker.close()


async def test_an_old_answer_is_returned_while_a_new_one_is_read(read: Reader) -> None:
    question = Question()
    assert await read(question, fresh=0.0, stale=60.0) == 1
    question.may_answer.clear()

    async def is_asked_again() -> None:
        assert await read(question, fresh=0.0, stale=60.0) == 1
        assert question.asked == 2

    await eventually(is_asked_again)
    question.may_answer.set()

    async def is_new() -> None:
        assert await read(question, fresh=0.0, stale=60.0) > 1

    await eventually(is_new)


async def test_a_question_that_allows_no_old_answer_waits(read: Reader) -> None:
    question = Question()
    assert await read(question, fresh=0.0) == 1

    async def waits() -> None:
        assert await read(question, fresh=0.0) == 2

    await eventually(waits)


async def test_an_error_is_not_returned_again(read: Reader) -> None:
    question = Question()
    question.error = NaqError("away")
    with pytest.raises(NaqError, match="away"):
        await read(question, fresh=0.0, stale=60.0)
    question.error = None

    async def is_answered() -> bool:
        try:
            return bool(await read(question, fresh=0.0, stale=60.0) > 1)
        except NaqError:  # it is shared for as long as it took
            return False

    await eventually(is_answered)


async def test_nothing_old_is_returned_after_an_action(read: Reader) -> None:
    question = Question()
    assert await read(question, stale=60.0) == 1
    read.forget()
    assert await read(question, stale=60.0) == 2
