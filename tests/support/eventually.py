"""Polling in place of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout: float = ..., interval: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout: float = ..., interval: float = ...) -> T: ...
async def eventually(
    check: Callable[[], Any],
    timeout: float = 10.0,
    interval: float = 0.02,
) -> Any:
    """Call `check` until it no longer raises AssertionError, and return what it returned.

    Args:
        check: A plain or async function that asserts what should come true.
        timeout: Seconds to keep trying. The last AssertionError is raised afterwards.
        interval: Seconds between two tries.

    Returns:
        The value of the first call that did not raise.

    Raises:
        AssertionError: The last failure of `check`, once `timeout` has passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = check()
            return await value if inspect.isawaitable(value) else value
        except AssertionError:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(interval)
