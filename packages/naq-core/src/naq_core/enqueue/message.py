"""The message that puts a job onto its subject: made here for every enqueue and firing; `again` moves one that is stored."""

from collections.abc import Sequence
from typing import Any

from naq_core.call import JobCall
from naq_core.enqueue import hooks
from naq_core.envelope import Parent
from naq_core.names import is_signal
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key, edge_messages, waiting_headers
from naq_core.storage.messages import schedule_headers
from naq_core.transport.headers import EXPECTED_SEQUENCE, EXPECTED_SUBJECT, FIRST, SCHEDULE_TARGET
from naq_core.transport.repeat import BrokerMessage


def job_message(connection: Connection, job: JobCall[Any], *, again: bool = False) -> BrokerMessage:
    """Return subject, body and headers of a job; see `message_of`.

    Args:
        again: It may have been sent before.

    Raises:
        EncodeError, PayloadTooLargeError: Before anything is sent.
    """
    checks_id = again or not job.is_fresh or job.enqueued_at > 0  # the caller may try again with the same call
    body = job.serialize()
    return message_of(
        connection, (job.queue, job.job_id), body, job.function_name, job.options.priority, due=job.due, checks_id=checks_id
    )


def message_of(
    connection: Connection, key: Key, body: bytes, function: str, level: str, *, due: float = 0.0, checks_id: bool = True
) -> BrokerMessage:
    """Return subject, signed body and headers of a new job.

    The expected sequence 0 of any subject of this id makes repeating safe: one id, one live job. A fresh id cannot be there
    yet, so its first try checks its own subject only, which saves a header. Not in a cluster: there a leader remembers what is
    under way by the subject that is checked, and would take the repeat for another write. That first try is marked (`FIRST`), so
    that a worker may start the job before it has claimed it (`docs/adr/0046-late-claims.md`).

    Args:
        key: Queue and job id.
        body: The encoded envelope.
        function: The function's name, for an error.
        level: The priority it is ready on.
        due: When it becomes ready, seconds since the epoch; 0: at once.
        checks_id: A job of this id may be there, from an earlier try or another enqueue.

    Raises:
        PayloadTooLargeError: Before anything is sent.
    """
    names = connection.names
    body = connection.signer.seal(body, *key)
    if len(body) > connection.message_limit:
        connection.check_size(f"the call of {function}", len(body))
    subject = names.ready(*key, level)
    headers = {EXPECTED_SEQUENCE: "0"}
    if checks_id or connection.is_clustered:
        headers[EXPECTED_SUBJECT] = names.any_state(*key)
    elif connection.settings.claim_after and not due and not connection.signer and (start := connection.client.server_start):
        headers[FIRST] = start
    if due and due > connection.clock.now():  # a time that has passed needs no schedule: the job is ready
        headers.update(schedule_headers(subject, due))
        subject = names.held(*key)
    return subject, body, headers


def waiting_messages(
    connection: Connection, key: Key, message: BrokerMessage, after: Sequence[Parent], expires: float
) -> list[BrokerMessage]:
    """Return the messages of a job that waits for others: its own, and one for each parent.

    Args:
        key: Queue and job id.
        message: The message that would make it ready.
        after: The parents to wait for.
        expires: When it is too late to run it (seconds since the epoch); 0 means never.
    """
    subject, body, headers = message
    ready, now = headers.get(SCHEDULE_TARGET, subject), connection.clock.now()
    # A person's answer takes longer than a job: no worker looks before a quarter of an hour.
    looks = 2 if all(is_signal(parent.id) for parent in after) else 0
    held = {**headers, **waiting_headers(ready, now, expires, looks)}
    return [(connection.names.held(*key), body, held), *edge_messages(connection, key, after)]


def count_enqueued(connection: Connection, queue: str, function: str, count: int = 1) -> None:
    """Count jobs that were stored."""
    connection.tally.add(queue, function, "enqueued", count)


async def tell_enqueued(queues: set[str]) -> None:
    """Call the hooks of this process, after jobs were stored on these queues."""
    if hooks.after_enqueue:
        await hooks.tell(queues)
