"""The jobs that are measured, beside those of `naq bench`."""

from __future__ import annotations

from naq_cli.bench.jobs import answer, noop, sleep

__all__ = ["answer", "count", "echo", "noop", "sleep"]


async def count(numbers: list[int]) -> int:
    return len(numbers)


async def echo(data: bytes) -> bytes:
    return data
