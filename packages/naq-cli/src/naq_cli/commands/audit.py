"""`naq audit`: who did what."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import Reading
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_core.audit import read_trail
from naq_core.views import AuditFilter

COLUMNS = (
    Column("At", lambda entry: entry.at),
    Column("By", lambda entry: entry.by or "nobody", wrap=True),
    Column("How", lambda entry: entry.how, rank=3),
    Column("Action", lambda entry: entry.action),
    Column("Target", lambda entry: entry.target, wrap=True),
    Column("Outcome", lambda entry: entry.outcome),
    Column("Reason", lambda entry: entry.reason, rank=1, wrap=True),
    Column("Details", lambda entry: entry.details, rank=2, wrap=True),
)


@connected("audit", Reading)
async def audit(
    session: Session,
    *,
    by: str = "",
    action: str = "",
    kind: str = "",
    target: str = "",
    outcome: str = "",
    limit: Annotated[int, Parameter(alias="-n")] = 50,
    cursor: str | None = None,
) -> None:
    """List the actions of the dashboard and this command, including refused ones, newest first.

    Args:
        by: Only actions of this user, such as alice, or ada@host for a terminal.
        action: Only this action, such as cancel-job or purge-queue.
        kind: Only actions on this kind of target: job, jobs, queue, schedule, worker, workflow, deploy, or login.
        target: Only targets with this text in their id or name.
        outcome: Only this outcome: begun, done, refused, failed or stopped.
        limit: Entries per page.
        cursor: Continue where the previous page ended.
    """
    wanted = AuditFilter(by=by, action=action, kind=kind, target=target, outcome=outcome)
    page = await read_trail(session.connection, wanted, limit, cursor)
    output = session.output
    empty = "The audit trail is empty." if wanted == AuditFilter() else f"No matching entry among the {page.scanned:,} searched."
    output.list(page.entries, COLUMNS, key=lambda entry: entry.target, empty=empty, document=page)
    if page.cursor is not None and not output.is_json:
        output.remark(f"There may be more: --cursor {page.cursor}")
