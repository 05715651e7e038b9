"""One firing of a schedule becomes a job; and the signature of what it is made of."""

import msgspec

from naq_core.enqueue.message import count_enqueued, message_of, tell_enqueued
from naq_core.enqueue.within import within_stored
from naq_core.envelope import Envelope, decode_envelope, encode_envelope
from naq_core.errors import SignatureError, WrongSequenceError
from naq_core.middleware import Timing
from naq_core.schedules.spec import ScheduleSpec, check_result_ttl
from naq_core.signing import unsealed
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_queue
from naq_core.transport.headers import MESSAGE_ID

__all__ = ["enqueue_firing", "sealed"]


async def enqueue_firing(connection: Connection, spec: ScheduleSpec, job_id: str, *, deadline: float | None = None) -> bool:
    """Enqueue one firing, and return whether its job is new; to do it again is safe.

    While the job lives its id is taken, which the expected sequence checks. After that its record stops it at the claim. The
    message id adds that the server itself drops a repetition within two minutes.

    Args:
        deadline: In loop time, until which it is repeated; None: as the settings say.

    Raises:
        SignatureError: The schedule is not signed with one of this process's keys, or is signed and the process has no key.
        PayloadTooLargeError: Its message is larger than the server takes.
        EnqueueSkippedError: Middleware has left it out. Whatever a middleware raises.
        BrokerError: It is unknown whether it was stored.
    """
    template = connection.signer.open(spec.template, spec.queue, _template_name(spec))
    if template != spec.template and not connection.signer:
        raise SignatureError(f"schedule {spec.schedule_id} is signed: this process needs NAQ_SIGNING_KEY to sign its jobs")
    at = connection.clock.now()
    envelope = msgspec.structs.replace(
        decode_envelope(template),
        id=job_id,
        at=at,
        schedule=spec.schedule_id,
        expires=at + spec.expires_in if spec.expires_in else 0.0,
    )
    return await within_stored(
        connection,
        "firing",
        [(spec.queue, envelope)],
        lambda found: _send_firing(connection, spec, *found, deadline=deadline),
        Timing(spec.cron, spec.interval, spec.timezone),
    )


async def _send_firing(connection: Connection, spec: ScheduleSpec, envelope: Envelope, *, deadline: float | None) -> bool:
    check_result_ttl(envelope.opt.result_ttl)
    job_id, level = envelope.id, envelope.opt.priority
    message = message_of(connection, (spec.queue, job_id), encode_envelope(envelope), envelope.fn, level)
    await ensure_queue(connection, spec.queue, level)
    subject, body, headers = message
    try:
        await connection.publish(subject, body, {**headers, MESSAGE_ID: job_id}, deadline=deadline)
    except WrongSequenceError:
        return False
    count_enqueued(connection, spec.queue, envelope.fn)
    await tell_enqueued({spec.queue})
    return True


def sealed(connection: Connection, spec: ScheduleSpec) -> ScheduleSpec:
    """Return the schedule with its template signed, where there is a key."""
    template = connection.signer.seal(unsealed(spec.template), spec.queue, _template_name(spec))
    return msgspec.structs.replace(spec, template=template)


def _template_name(spec: ScheduleSpec) -> str:
    """What the signature binds the template to, so that it cannot be put into another schedule."""
    return f"{spec.schedule_id}=template"
