"""The jobs that are measured."""

import asyncio

from naq_cli.bench.stamps import stamps

SLEEP_SECONDS = 0.05


async def noop(slot: int) -> int:
    """Only note that it ran."""
    stamps().begin(slot)
    stamps().finish(slot)
    return slot


async def sleep(slot: int) -> int:
    """Wait, as for a database or another service."""
    stamps().begin(slot)
    await asyncio.sleep(SLEEP_SECONDS)
    stamps().finish(slot)
    return slot


async def answer(number: int) -> int:
    """Return the argument."""
    return number
