"""One event in words, with what only the job's record knows."""

from naq_cli._format import printable
from naq_cli._jobs import duration
from naq_core.connection import Connection
from naq_core.errors import NaqError
from naq_core.events import Event
from naq_core.inspect import get_job
from naq_core.wording import span


async def describe_event(connection: Connection, event: Event) -> str:
    """Return what happened, and how long it took or why it failed."""
    text = f"{event.kind:<9} {event.function} {event.job_id}"
    try:
        job = await get_job(connection, event.job_id, event.queue)
    except NaqError:  # deleted, or the server is just going away: the event itself is still true
        return printable(text)
    if event.kind in {"failed", "retrying"} and job.errors:
        attempt = f"attempt {event.attempt}: " if event.attempt > 1 or event.kind == "retrying" else ""
        text += f" {attempt}{job.errors[-1].type}: {' '.join(job.errors[-1].message.split())}"
    elif (took := duration(job)) is not None:
        text += f" in {span(took.total_seconds())}"
    return printable(text)
