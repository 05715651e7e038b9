"""Actions on one queue."""

from litestar.exceptions import ValidationException

from naq_core import manage
from naq_core.queue_policy import QueuePolicy
from naq_core.storage.connection import Connection
from naq_core.wording import counted, were
from naq_dashboard.actions.details import Details, Target

__all__ = ["delete_queue", "limit_queue", "pause_queue", "policy_queue", "purge_queue", "resume_queue"]


async def pause_queue(connection: Connection, target: Target, details: Details) -> str:
    """Pause a queue, for a duration or until it is resumed."""
    now = connection.clock.utc()
    until = details.instant("duration", now, ahead=True) if details.duration.strip() else None
    if until is not None and until <= now:
        raise ValidationException("duration must be positive, or a time to come")
    await manage.pause_queue(connection, target.name, until)
    end = f" until {until:%Y-%m-%d %H:%M:%S %Z}" if until else ""
    return f"Queue {target.name} is paused{end}; running jobs continue."


async def resume_queue(connection: Connection, target: Target, _: Details) -> str:
    """Resume a queue."""
    await manage.resume_queue(connection, target.name)
    return f"Queue {target.name} is resumed."


async def limit_queue(connection: Connection, target: Target, details: Details) -> str:
    """Limit how many jobs of a queue run at once, or remove the limit."""
    await manage.set_queue_limit(connection, target.name, details.limit)
    if details.limit is None:
        return f"Queue {target.name} no longer has a limit."
    return f"Queue {target.name} runs at most {counted(details.limit, 'job')} at once."


async def policy_queue(connection: Connection, target: Target, details: Details) -> str:
    """Limit how many jobs of one key of a queue run at once."""
    if details.key_limit is None:
        raise ValidationException("key_limit is missing: how many jobs of one key may run at once, from 1 to 1000")
    known = await manage.get_queue_policy(connection, target.name)
    await manage.set_queue_policy(connection, target.name, QueuePolicy(limit=known.limit, key_limit=details.key_limit))
    return f"Queue {target.name} runs at most {counted(details.key_limit, 'job')} of each key at once."


async def purge_queue(connection: Connection, target: Target, details: Details) -> str:
    """Delete the queued and held jobs of a queue, whose name was typed again."""
    if details.confirm.strip() != target.name:
        raise ValidationException(f"to confirm, type the name exactly: {target.name}")
    count = await manage.purge_queue(connection, target.name)
    return f"{counted(count, 'job')} of queue {target.name} {were(count)} deleted."


async def delete_queue(connection: Connection, target: Target, _: Details) -> str:
    """Delete a queue that has no jobs and no workers."""
    await manage.delete_queue(connection, target.name)
    return f"Queue {target.name} is deleted."
