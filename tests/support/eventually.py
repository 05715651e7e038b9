"""Polling in place of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

PATIENCE = 3.0
"""How many times as long a wait may take as on a quiet machine: tests run beside each other, and beside other work."""


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...
async def eventually(
    check: Callable[[], Any],
    timeout: float = 10.0,
    interval: float = 0.02,
) -> Any:
    """Call `check` until it neither raises AssertionError nor returns False, and return what it returned.

    Args:
        check: A plain or async function that asserts or returns what should come true.
        timeout: Seconds within which it comes true on a quiet machine; it is tried `PATIENCE` times as long.
        interval: Seconds between two tries.

    Returns:
        The value of the first call that succeeded.

    Raises:
        AssertionError: The last failure of `check`, once that time has passed.
    """
    deadline = time.monotonic() + PATIENCE * timeout
    while True:
        try:
            value = check()
            value = await value if inspect.isawaitable(value) else value
            assert value is not False
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        else:
            return value
        await asyncio.sleep(interval)
