"""The jobs that are measured."""

from __future__ import annotations

import asyncio

from tests.benchmarks.stamps import stamps


async def noop(slot: int) -> int:
    stamps().begin(slot)
    stamps().finish(slot)
    return slot


async def sleep(slot: int) -> int:
    stamps().begin(slot)
    await asyncio.sleep(0.05)
    stamps().finish(slot)
    return slot


async def answer(number: int) -> int:
    return number


async def count(numbers: list[int]) -> int:
    return len(numbers)


async def echo(data: bytes) -> bytes:
    return data
