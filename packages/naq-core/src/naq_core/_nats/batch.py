"""Atomic publishing (ADR-50): up to 1,000 messages of one stream, stored whole or not at all."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from naq_core._nats.connection import Connection
from naq_core._nats.errors import CLIENT_ERRORS, DisconnectedError, NotReadyError
from naq_core._nats.subjects import BATCH_COMMIT, BATCH_ID, BATCH_SEQUENCE
from naq_core.errors import BrokerTimeoutError, WrongSequenceError
from naq_core.names import new_id

LIMIT = 1000

BrokerMessage: TypeAlias = tuple[str, bytes, dict[str, str]]
"""Subject, body and headers."""


async def publish_batch(connection: Connection, messages: Sequence[BrokerMessage]) -> None:
    """Store all messages or none.

    Repeated while the outcome is unknown; every message must carry an expected sequence, so that a batch which was stored
    after all is refused the second time.

    Raises:
        WrongSequenceError: A precondition failed; nothing was stored (by the last try, see `repeated`).
        BrokerError: As `Connection.publish`.
    """
    if len(messages) == 1:
        await connection.publish(*messages[0])
        return
    deadline = connection.budget()
    repeated = False
    while True:
        await connection.wait_connected(deadline)
        batch = new_id()
        subject, body, headers = messages[-1]
        commit = {**headers, BATCH_ID: batch, BATCH_SEQUENCE: str(len(messages)), BATCH_COMMIT: "1"}
        try:
            # Each message but the last goes out without a reply: the commit's answer speaks for all.
            for number, (each, data, extra) in enumerate(messages[:-1], 1):
                await connection.client.publish(each, data, headers={**extra, BATCH_ID: batch, BATCH_SEQUENCE: str(number)})
            await connection.publish_once(subject, body, commit)
        except WrongSequenceError as error:
            error.repeated = repeated
            raise
        except (NotReadyError, BrokerTimeoutError, DisconnectedError, *CLIENT_ERRORS) as error:
            repeated = repeated or not isinstance(error, NotReadyError)  # then nothing was stored
            for each, *_ in messages:  # the server drops what is not permitted without an answer
                connection.denials.check(each)
            if connection.is_past(deadline):
                raise BrokerTimeoutError(f"atomic batch ({error})", connection.settings.publish_budget.total_seconds()) from error
            await asyncio.sleep(0.05)
        else:
            return


def batches(groups: Iterable[Sequence[BrokerMessage]]) -> list[list[BrokerMessage]]:
    """Return as few batches as hold the groups, in their order; only a group that is too large by itself is divided."""
    made: list[list[BrokerMessage]] = [[]]
    for group in groups:
        if len(made[-1]) + len(group) > LIMIT:
            made.append([])
        for message in group:
            if len(made[-1]) == LIMIT:
                made.append([])
            made[-1].append(message)
    return [batch for batch in made if batch]
