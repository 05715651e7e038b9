"""Calling a job's function without a worker."""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from naq_core.serialization import decode_call, encode_call


async def call_here(function: Callable[..., Any] | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a function here and now, and return what it returns; a plain function runs in a thread.

    Args:
        function: The function, or its name as `"module:function"`.

    Raises:
        EncodeError, DecodeError, UnknownTaskError: There is no function of that name.
    """
    called: Any = function
    if isinstance(function, str):
        called, *_ = decode_call(encode_call(function, (), {}, "pickle"), "pickle")
    if inspect.iscoroutinefunction(inspect.unwrap(called)):
        return await called(*args, **kwargs)
    result = await asyncio.to_thread(called, *args, **kwargs)
    return await result if inspect.isawaitable(result) else result
