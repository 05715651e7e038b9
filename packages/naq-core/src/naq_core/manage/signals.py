"""Sending a signal to the jobs that wait for it."""

from datetime import timedelta
from typing import Any

from naq_core.dependents import Dependents
from naq_core.enqueue.message import tell_enqueued
from naq_core.names import check_signal
from naq_core.option_kinds import TTL
from naq_core.previews import clean_text
from naq_core.sent_signal import SentSignal
from naq_core.storage.connection import Connection
from naq_core.storage.signals import store_signal
from naq_core.storage.topology import ensure_streams
from naq_core.values import text

KEPT = timedelta(days=7)
"""How long a signal is kept, by default."""
LONGEST_SENDER = 200


async def send_signal(
    connection: Connection, name: str, data: Any = None, *, sender: str = "", ttl: float | timedelta = KEPT
) -> bool:
    """Send a signal: the jobs with `wait_for=name` may start, those that wait and those that come while it is kept.

    The signal is stored first, then the jobs that wait are made ready. If a process dies in between, the scheduler's next sweep
    does it, or a worker when the server has it look at the job, or the next call with this name.

    Args:
        name: Of the signal: 1 to 128 letters, digits, `_`, `-`, `=`, `:`, `@`, `.` or `+`.
        data: Values of JSON for the jobs (`current_job().signal.data`).
        sender: Who sends it, for people; at most 200 characters.
        ttl: How long it is kept, in seconds; by default 7 days. Jobs read it when they run, so a job that is retried after that
            starts without it.

    Returns:
        Whether it is new. A signal of this name that is kept stays as it is, with its data; jobs that still wait are made ready.

    Raises:
        InvalidNameError: No signal can have this name.
        InvalidOptionError: `ttl` is below a second.
        EncodeError: The data are not values of JSON. PayloadTooLargeError: They are too large for a message.
        BrokerError: It is unknown whether it was sent; send it again.
    """
    name, seconds = check_signal(name), TTL.check(ttl, "ttl")
    sender = clean_text(text(sender, "sender", most=1_000_000), LONGEST_SENDER)
    await ensure_streams(connection)
    is_new = await store_signal(connection, name, SentSignal(connection.clock.now(), data, sender), seconds)
    released = await Dependents(connection).release_for_signal(name)
    await tell_enqueued(released)
    return is_new
