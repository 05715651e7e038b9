"""Actions on one queue."""

import msgspec
from litestar.exceptions import ValidationException

from naq_core import manage
from naq_core.queue_policy import QueuePolicy, policy_text
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target
from naq_dashboard.languages import Sentence, said, said_of

__all__ = ["delete_queue", "limit_queue", "pause_queue", "policy_queue", "purge_queue", "resume_queue"]

POLICY_PARTS = ("key_limit", "rate", "burst", "key_rate", "key_burst", "weights")


async def pause_queue(connection: Connection, target: Target, details: Details) -> Sentence:
    """Pause a queue, for a duration or until it is resumed."""
    now = connection.clock.utc()
    until = details.instant("duration", now, ahead=True) if details.duration.strip() else None
    if until is not None and until <= now:
        raise ValidationException("duration must be positive, or a time to come")
    await manage.pause_queue(connection, target.name, until)
    if until is None:
        return said("Queue %(queue)s is paused; running jobs continue.", queue=target.name)
    time = f"{until:%Y-%m-%d %H:%M:%S %Z}"
    return said("Queue %(queue)s is paused until %(time)s; running jobs continue.", queue=target.name, time=time)


async def resume_queue(connection: Connection, target: Target, _: Details) -> Sentence:
    """Resume a queue."""
    await manage.resume_queue(connection, target.name)
    return said("Queue %(queue)s is resumed.", queue=target.name)


async def limit_queue(connection: Connection, target: Target, details: Details) -> Sentence:
    """Limit how many jobs of a queue run at once, or remove the limit."""
    await manage.set_queue_limit(connection, target.name, details.limit)
    if details.limit is None:
        return said("Queue %(queue)s no longer has a limit.", queue=target.name)
    return said_of(
        details.limit,
        "Queue %(queue)s runs at most %(count)s job at once.",
        "Queue %(queue)s runs at most %(count)s jobs at once.",
        queue=target.name,
    )


async def policy_queue(connection: Connection, target: Target, details: Details) -> Sentence:
    """Set how many jobs of a queue start in a time, and how many of each key run at once; what is not given stays."""
    given = {name: value for name in POLICY_PARTS if (value := getattr(details, name)) is not None}
    if not given:
        raise ValidationException(f"nothing is set: use {', '.join(POLICY_PARTS)}")
    known = await manage.get_queue_policy(connection, target.name)
    if details.replaces:
        known = QueuePolicy(limit=known.limit)
    for name in ("rate", "key_rate"):
        if (text := given.get(name)) is not None:
            given[name] = text.strip() or None
            given.setdefault(name.replace("rate", "burst"), None)
    if isinstance(weights := given.get("weights"), str):
        given["weights"] = _weights(weights)
    policy = msgspec.structs.replace(known, **given)
    await manage.set_queue_policy(connection, target.name, policy)
    return said("Queue %(queue)s %(policy)s.", queue=target.name, policy=policy_text(policy))


def _weights(text: str) -> dict[str, int]:
    """Read the weights of keys as a form has them: `vip=3, key=2`."""
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, number = part.rpartition("=")
        if not key.strip() or not number.strip().isdecimal():
            raise ValidationException(f"weights: {part!r} is not KEY=NUMBER, such as vip=3")
        found[key.strip()] = int(number)
    return found


async def purge_queue(connection: Connection, target: Target, details: Details) -> Sentence:
    """Delete the queued and held jobs of a queue, whose name was typed again."""
    if details.confirm.strip() != target.name:
        raise ValidationException(f"to confirm, type the name exactly: {target.name}")
    count = await manage.purge_queue(connection, target.name)
    return said_of(
        count,
        "%(count)s job of queue %(queue)s was deleted.",
        "%(count)s jobs of queue %(queue)s were deleted.",
        queue=target.name,
    )


async def delete_queue(connection: Connection, target: Target, _: Details) -> Sentence:
    """Delete a queue that has no jobs and no workers."""
    await manage.delete_queue(connection, target.name)
    return said("Queue %(queue)s is deleted.", queue=target.name)
