"""Whether the server at the other end of a connection is alive: it answers, or bytes come and go."""

import asyncio

from naq_core.tasks import Background
from naq_core.transport.client import QuickClient
from naq_core.transport.errors import CLIENT_ERRORS

PATIENCE = 3.0
"""Seconds without an answer and without a byte that mean that nobody is there."""
LOOKS = 10
"""At what has come and gone, in that time."""
LONGEST = 3600
"""Seconds for which an answer is waited for at most, behind other bytes."""


async def answers(client: QuickClient, background: Background) -> bool:
    """Return whether the server answers a ping, which may take its time behind other bytes.

    Of a connection that is lost meanwhile nothing is said: the client makes another one by itself.
    """
    reconnects = client.stats["reconnects"]
    answer = background.start(_ping(client), "naq-ping")
    try:
        quiet, before = 0, (client.received, client.unsent)
        while not answer.done() and quiet < LOOKS:  # not by the clock: a job may have blocked the event loop
            await asyncio.wait({answer}, timeout=PATIENCE / LOOKS)
            if client.stats["reconnects"] != reconnects or not client.is_connected:
                return True  # no answer to this ping can come
            now = client.received, client.unsent
            has_moved = now[0] != before[0] or now[1] < before[1]
            quiet, before = 0 if has_moved else quiet + 1, now
        return answer.done() and answer.result()
    finally:
        answer.cancel()


async def _ping(client: QuickClient) -> bool:
    try:
        await client.flush(timeout=LONGEST)
    except CLIENT_ERRORS:
        return False
    return True
