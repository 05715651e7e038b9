"""`naq signal`: send a signal to the jobs that wait for it, and list those jobs."""

from typing import Annotated, Any

from cyclopts import Parameter

from naq_cli._errors import CommandError
from naq_cli._options import Reading, seconds_of
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core.inspect import waiting_for_signals
from naq_core.manage import send_signal
from naq_core.manage.signals import KEPT
from naq_core.names import check_signal
from naq_core.written_calls import read_json

COLUMNS = (
    Column("Signal", lambda job: job.signal),
    Column("Job", lambda job: job.job_id),
    Column("Function", lambda job: job.function),
    Column("Queue", lambda job: job.queue),
    Column("Waits since", lambda job: job.enqueued_at, right=True),
    Column("Until", lambda job: job.expires_at, right=True),
)


@connected("signal", Reading)
async def signal(
    session: Session,
    name: str | None = None,
    /,
    *,
    data: str | None = None,
    ttl: str | None = None,
    limit: Annotated[int, Parameter(alias="-n")] = 100,
) -> None:
    """Send a signal to the jobs that wait for it (wait_for); without a name, list the jobs that wait for signals.

    The first signal of a name counts, as long as it is kept.

    Args:
        name: The signal's name, such as invoice-7:approved.
        data: JSON for the jobs, such as '{"approved": true}'.
        ttl: How long it is kept for jobs that are enqueued later: 1h, 30d; 7 days by default.
        limit: The number of jobs to list.
    """
    if name is None:
        await _list(session, limit)
        return
    value, seconds = _value(data), seconds_of(ttl, "--ttl")
    name = check_signal(name)
    async with session.acting("send-signal", name) as entry:
        kept = KEPT.total_seconds() if seconds is None else seconds
        is_new = await send_signal(session.connection, name, value, sender=session.user, ttl=kept)
        entry.reason = "" if is_new else "it had been sent before"
    session.output.done(
        f"Signal {name} {'is sent' if is_new else 'had been sent before; its data stay as they are'}.", names=[name]
    )


async def _list(session: Session, limit: int) -> None:
    page = await waiting_for_signals(session.connection, limit)
    session.output.list(page.jobs, COLUMNS, key=lambda job: job.job_id, empty="No job is waiting for a signal.", document=page)
    if page.has_more:
        session.output.remark(f"There are more: naq signal --limit {10 * limit}")


def _value(data: str | None) -> Any:
    try:
        return None if data is None else read_json(data)
    except ValueError as error:
        raise CommandError(f"--data {error}", ExitCode.USAGE) from error
