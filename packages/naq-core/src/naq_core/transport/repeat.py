"""Repeating a write until its outcome is known: the one place that says what a refused precondition proves.

A try whose answer is lost may have been stored, so its repeat may be refused by our own message. In a cluster a refusal comes in
two kinds. "Wrong last sequence" without a number (10164) speaks of a proposal that is still under way: a leader that is cut off
from its peers gives that answer for messages that will never be stored. It proves nothing. With a number (10071) it speaks of
a message in the leader's store, which holds only what a majority has agreed on. That message is read back and compared with ours.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from naq_core.errors import (
    BrokerError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    JetStreamError,
    PermissionDeniedError,
    WrongSequenceError,
)
from naq_core.transport.errors import NO_MESSAGE, DisconnectedError, NotReadyError
from naq_core.transport.headers import EXPECTED_SEQUENCE, FIRST, SCHEDULE
from naq_core.transport.message import Message, stored_message

if TYPE_CHECKING:
    from naq_core.transport.jetstream import JetStream

FIRST_PAUSE = 0.02
"""Seconds before the second try; each later pause is twice as long, up to `LONGEST_PAUSE`."""
LONGEST_PAUSE = 1.0
SILENCE = 3.0
"""Seconds without a word from a peer, which speaks each second, after which a leader may have been replaced; an election takes
longer."""

LATEST_FIRST = 1.0
"""Seconds after its sending in which the first try of a job (`FIRST`) has to be stored to be taken for that."""
OUTLASTED = 2 * LATEST_FIRST
"""Seconds after which a first try whose outcome is unknown is repeated while the server runs: a first try that comes even later,
when the repeat may have been run, is not taken for one; the clocks of sender and server may differ by the rest."""

BrokerMessage: TypeAlias = tuple[str, bytes, dict[str, str]]
"""Subject, body and headers."""


async def repeat(
    connection: "JetStream",
    send: Callable[[], Awaitable[int]],
    messages: Sequence[BrokerMessage],
    *,
    deadline: float,
    is_repeated: bool = False,
) -> int:
    """Store messages, all or none, and try again until the outcome is known or the budget is used up.

    Args:
        send: Makes one try and returns the stream sequence of the (last) message.
        messages: What is sent. Each must be safe to repeat: it has an expected sequence, or replaces itself.
        deadline: In loop time.
        is_repeated: The outcome of an earlier try is unknown.

    Returns:
        The stream sequence; of a batch that was found stored: that of one of its messages.

    Raises:
        WrongSequenceError: Somebody else wrote the subject first. Nothing was stored, or it has been replaced since.
        BrokerUnavailableError, JetStreamError: Nothing was stored.
        BrokerTimeoutError: The budget is used up, and it is unknown whether anything was stored.
    """
    pause = FIRST_PAUSE
    start, begun = connection.client.server_start, asyncio.get_running_loop().time()
    while True:
        try:
            if not connection.is_connected:
                await connection.wait_connected(deadline)
            try:
                return await send()
            except WrongSequenceError as error:
                refused = error
            return await _look_into(refused, connection, send, messages, deadline=deadline, is_repeated=is_repeated)
        except NotReadyError as error:
            last: BrokerError = error
        except (BrokerTimeoutError, DisconnectedError) as error:
            is_repeated, last = True, error
            if any(headers.pop(FIRST, "") for _, _, headers in messages):
                await outlast(connection, start, begun)
        except (BrokerUnavailableError, JetStreamError) as error:
            if not is_repeated or isinstance(error, WrongSequenceError):
                raise
            last = error  # nothing was stored by this try, but perhaps by an earlier one
        if isinstance(last, BrokerUnavailableError) or connection.is_past(deadline - pause):
            raise _unknown(connection, messages, last) from last
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def outlast(connection: "JetStream", start: str, begun: float) -> None:
    """Wait before the repeat of a first try, unless the server has restarted since: then workers do not trust its mark.

    Args:
        start: The server's start (`server_start`) at the first try.
        begun: When that was made, in loop time.
    """
    until = begun + OUTLASTED
    with contextlib.suppress(BrokerUnavailableError):
        await connection.wait_connected(until)
    if connection.client.server_start == start:
        await asyncio.sleep(max(0.0, until - asyncio.get_running_loop().time()))


async def _look_into(
    refused: WrongSequenceError,
    connection: "JetStream",
    send: Callable[[], Awaitable[int]],
    messages: Sequence[BrokerMessage],
    *,
    deadline: float,
    is_repeated: bool,
) -> int:
    if await _may_have_been_behind(connection, refused, messages, deadline):
        try:
            return await send()
        except WrongSequenceError as error:
            refused = error
    return await _find_ours(connection, refused, messages, deadline=deadline, is_repeated=is_repeated)


def _unknown(connection: "JetStream", messages: Sequence[BrokerMessage], why: BrokerError) -> BrokerTimeoutError:
    what = f"publish to {messages[-1][0]}" if len(messages) == 1 else f"atomic batch of {len(messages)} messages"
    return BrokerTimeoutError(f"{what} ({why})", connection.settings.publish_budget.total_seconds())


async def _find_ours(
    connection: "JetStream",
    refused: WrongSequenceError,
    messages: Sequence[BrokerMessage],
    *,
    deadline: float,
    is_repeated: bool,
) -> int:
    """Return the sequence of the message that a precondition met, if it is one of those that are sent.

    Raises:
        WrongSequenceError: It is another's, or there is nothing any more.
        NotReadyError: The refusal proves nothing (yet).
    """
    if not is_repeated or refused.last == 0:
        raise refused
    stream = connection.stream_of(messages[-1][0])
    found = None if refused.last is None else await _read(connection, stream, refused.last, deadline)
    if found is None:
        raise NotReadyError(f"{refused}: the conflicting message is gone") from refused
    if any(_is_same(found, message) for message in messages if EXPECTED_SEQUENCE in message[2]):
        return found.sequence
    raise refused


def _is_same(found: Message, message: BrokerMessage) -> bool:
    """Whether a stored message is the one that was sent, of which every body is unique or means the same.

    A new job may have been moved since by the server or a worker, with the same body. A job that is moved has the same body
    before and after, so there the place and the time count too.
    """
    subject, body, headers = message
    if found.data != body:
        return False
    if headers[EXPECTED_SEQUENCE] == "0":
        return True
    return found.subject == subject and found.headers.get(SCHEDULE) == headers.get(SCHEDULE)


async def _read(connection: "JetStream", stream: str, sequence: int, deadline: float) -> Message | None:
    try:
        answer = await connection.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence}, deadline=deadline)
    except PermissionDeniedError as error:
        raise NotReadyError(f"{error}: so it is unknown whose message was stored") from error
    except JetStreamError as error:
        if error.err_code == NO_MESSAGE:
            return None
        raise
    return stored_message(answer["message"])


async def _may_have_been_behind(
    connection: "JetStream", refused: WrongSequenceError, messages: Sequence[BrokerMessage], deadline: float
) -> bool:
    """Whether a refusal may come from a leader that has not got as far as the expected sequence, but is a leader no more.

    A leader that is cut off answers so until it finds out. One that hears of its peers has the whole stream: then what was
    expected is gone, or the stream is a new one. Who answers here may be another leader than the one that refused.

    Raises:
        NotReadyError: The leader is behind.
    """
    expected = max((int(headers.get(EXPECTED_SEQUENCE, "0")) for _, _, headers in messages), default=0)
    if not connection.is_clustered or refused.last is None or refused.last >= expected:
        return False
    stream = connection.stream_of(messages[-1][0])
    try:
        answer = await connection.api(f"STREAM.INFO.{stream}", deadline=deadline)
    except PermissionDeniedError:
        return False
    peers = (answer.get("cluster") or {}).get("replicas") or []
    silent = [peer for peer in peers if peer.get("offline") or peer.get("active", 0) > SILENCE * 1e9]
    if int(answer["state"]["last_seq"]) < expected and 2 * len(silent) > len(peers):
        raise NotReadyError(f"{refused}: the leader of {stream} is behind") from refused
    return bool(peers)
