"""What is to happen right after a job was stored: the hook of `naq_core.testing`'s inline mode, empty everywhere else."""

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeAlias

AfterEnqueue: TypeAlias = "Callable[[Collection[str]], Awaitable[None]]"

after_enqueue: list[AfterEnqueue] = []
"""Called with the names of the queues that have got jobs; clients look only whether it is empty."""


async def tell(queues: Collection[str]) -> None:
    """Call the hooks, in the order they were added."""
    for hook in tuple(after_enqueue):
        await hook(queues)


@contextmanager
def calling(hook: AfterEnqueue) -> Iterator[None]:
    """Call `hook` after each enqueue of this process, until the block ends."""
    after_enqueue.append(hook)
    try:
        yield
    finally:
        after_enqueue.remove(hook)
