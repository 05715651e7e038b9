"""Calling a job's function without a worker."""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from naq_core.batches import alone
from naq_core.layers import Layer, around, around_plain
from naq_core.opened import OpenResources
from naq_core.resources import GivenCall, has_resources
from naq_core.serialization import decode_call, encode_call


async def call_here(function: Callable[..., Any] | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a function here and now, and return what it returns; a plain function runs in a thread.

    The resources that it asks for are opened for this call, and closed after it.

    Args:
        function: The function, or its name as `"module:function"`.

    Raises:
        EncodeError, DecodeError, UnknownTaskError: There is no function of that name.
    """
    called: Any = function
    if isinstance(function, str):
        called, *_ = decode_call(encode_call(function, (), {}, "pickle"), "pickle")
    called = alone(called)
    call = GivenCall(called, args, kwargs)
    if not has_resources():
        return await _called(call, ())
    resources = OpenResources(asyncio.to_thread)
    result: Any = None

    async def run() -> None:
        nonlocal result
        result = await _called(call, [layer for layer in layers if not layer.is_async])

    try:
        layers = resources.layers(called)
        await around([layer for layer in layers if layer.is_async], call, run)
    finally:
        await resources.close()
    return result


async def _called(call: GivenCall, layers: Sequence[Layer]) -> Any:
    """Call a function where it belongs, within plain layers."""
    if inspect.iscoroutinefunction(inspect.unwrap(call.function)):
        return await call.call()
    result: Any = None

    def run() -> None:
        nonlocal result
        result = call.call()

    await asyncio.to_thread(around_plain, layers, call, run)
    return await result if inspect.isawaitable(result) else result
