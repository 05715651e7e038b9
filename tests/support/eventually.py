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


Progress = Callable[[], object]


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ..., progress: Progress | None = ...
) -> T: ...
@overload
async def eventually(
    check: Callable[[], T], timeout: float = ..., interval: float = ..., progress: Progress | None = ...
) -> T: ...
async def eventually(
    check: Callable[[], Any],
    timeout: float = 10.0,
    interval: float = 0.02,
    progress: Progress | None = None,
) -> Any:
    """Call `check` until it neither raises AssertionError nor returns False, and return what it returned.

    Args:
        check: A plain or async function that asserts or returns what should come true.
        timeout: Seconds within which it comes true on a quiet machine; it is tried `PATIENCE` times as long.
        interval: Seconds between two tries.
        progress: Returns what changes while things go on: then the time begins again.

    Returns:
        The value of the first call that succeeded.

    Raises:
        AssertionError: The last failure of `check`, once that time has passed.
    """
    deadline, reached = time.monotonic() + PATIENCE * timeout, None
    while True:
        try:
            value = check()
            value = await value if inspect.isawaitable(value) else value
            assert value is not False
        except AssertionError:
            if progress is not None and reached != (reached := progress()):
                deadline = time.monotonic() + PATIENCE * timeout
            if time.monotonic() >= deadline:
                raise
        else:
            return value
        await asyncio.sleep(interval)
