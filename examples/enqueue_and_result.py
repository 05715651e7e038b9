"""The smallest program: enqueue a call, wait for its result."""

import asyncio

from local import naq

from naq_client import Queue


def add(a: int, b: int) -> int:
    """Run in the worker process, in a thread of its own, since it is no coroutine."""
    return a + b


async def shout(text: str) -> str:
    """Run in the worker's event loop."""
    await asyncio.sleep(0.01)
    return text.upper()


async def main() -> None:
    """Enqueue two calls."""
    async with Queue() as queue:
        total = await queue.enqueue(add, 2, b=3)
        loud = await queue.enqueue(shout, "hello")
        print("2 + 3 =", await total.result(timeout=10))
        print(await loud.result(timeout=10))
        print("state:", await total.status())


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
