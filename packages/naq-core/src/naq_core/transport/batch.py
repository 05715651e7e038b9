"""Atomic publishing (ADR-50): up to 1,000 messages of one stream, stored whole or not at all."""

from collections.abc import Iterable, Sequence

from naq_core.errors import BrokerError, BrokerTimeoutError
from naq_core.transport.errors import CLIENT_ERRORS, DisconnectedError, NotReadyError
from naq_core.transport.headers import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE
from naq_core.transport.jetstream import JetStream
from naq_core.transport.repeat import BrokerMessage, repeat

BATCH_LIMIT = 1000


async def publish_batch(connection: JetStream, messages: Sequence[BrokerMessage]) -> int:
    """Store all messages or none, and return the stream sequence of the last one, or of one of them if they were stored before.

    Raises:
        WrongSequenceError, BrokerError: As of `store_batch`.
    """
    return (await store_batch(connection, messages))[0]


async def store_batch(connection: JetStream, messages: Sequence[BrokerMessage]) -> tuple[int, bool]:
    """Store all messages or none.

    Repeated while the outcome is unknown; a message must carry an expected sequence, so that a batch which was stored after all
    is refused the second time and recognised. No subject may have a precondition twice: the server takes the first for a write
    that is still under way.

    Returns:
        The stream sequence of the last message, and True: those before it have the numbers before it. Or that of one of them, and
        False: an earlier try whose answer was lost was found stored.

    Raises:
        WrongSequenceError: A precondition failed, by somebody else's message; nothing was stored.
        BrokerError: As `JetStream.publish`.
    """
    if len(messages) == 1:
        return await connection.publish(*messages[0]), True
    last = 0

    async def send() -> int:
        nonlocal last
        try:
            last = await _send(connection, messages)
        except (NotReadyError, BrokerTimeoutError, DisconnectedError, *CLIENT_ERRORS) as error:
            for subject, *_ in messages:  # the server drops what is not permitted without an answer
                connection.denials.check(subject)
            if isinstance(error, BrokerError):
                raise
            raise DisconnectedError(f"the batch was interrupted: {error!r}") from error
        return last

    found = await repeat(connection, send, messages, deadline=connection.budget())
    return found, found == last


async def _send(connection: JetStream, messages: Sequence[BrokerMessage]) -> int:
    """Make one try; each message but the last goes out without a reply, as the commit's answer speaks for all.

    They go out without a pause where the buffer allows: the server has 50 unfinished batches of a stream at most, and drops more
    without a word.
    """
    client = connection.client
    batch = client.new_token()
    for number, (subject, body, headers) in enumerate(messages[:-1], 1):
        client.post(subject, body, "", {**headers, BATCH_ID: batch, BATCH_SEQUENCE: str(number)})
        if client.is_full:
            await client.relieve()
    subject, body, headers = messages[-1]
    commit = {**headers, BATCH_ID: batch, BATCH_SEQUENCE: str(len(messages)), BATCH_COMMIT: "1"}
    return await connection.publish_once(subject, body, commit)


def batches(groups: Iterable[Sequence[BrokerMessage]]) -> list[list[BrokerMessage]]:
    """Return as few batches as hold the groups, in their order; only a group that is too large by itself is divided."""
    made: list[list[BrokerMessage]] = [[]]
    for group in groups:
        if len(made[-1]) + len(group) > BATCH_LIMIT:
            made.append([])
        for message in group:
            if len(made[-1]) == BATCH_LIMIT:
                made.append([])
            made[-1].append(message)
    return [batch for batch in made if batch]
