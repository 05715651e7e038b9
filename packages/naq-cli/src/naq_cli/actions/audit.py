"""Showing the audit trail."""

from naq_cli._output import Column
from naq_cli._session import Session
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


async def print_trail(session: Session, wanted: AuditFilter, limit: int, cursor: str | None) -> None:
    """List a page of the trail."""
    page = await read_trail(session.connection, wanted, limit, cursor)
    output = session.output
    empty = "The audit trail is empty." if wanted == AuditFilter() else f"No matching entry among the {page.scanned:,} searched."
    output.list(page.entries, COLUMNS, key=lambda entry: entry.target, empty=empty, document=page)
    if page.cursor is not None and not output.is_json:
        output.remark(f"There may be more: --cursor {page.cursor}")
