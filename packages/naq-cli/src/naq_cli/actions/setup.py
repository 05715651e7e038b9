"""Creating streams and consumers."""

from naq_cli._output import Column
from naq_cli._session import Session
from naq_cli.exit_codes import ExitCode
from naq_core.inspect import TopologyItem
from naq_core.manage import apply_topology

TOPOLOGY_COLUMNS = (
    Column("Name", lambda item: item.name),
    Column("Kind", lambda item: item.kind),
    Column("State", lambda item: item.state),
    Column("Differences", lambda item: item.differences, wrap=True),
)


async def set_up(session: Session, queues: list[str], *, dry_run: bool, update: bool) -> int:
    """Create what is missing and list everything with what was done to it."""
    queues = queues or [session.settings.default_queue]
    items = await apply_topology(session.connection, queues, update=update, dry_run=dry_run)
    session.output.list(items, TOPOLOGY_COLUMNS, key=lambda item: item.name, empty="")
    if dry_run:
        session.output.remark("Nothing was changed (--dry-run).")
    return _verdict(session, items)


def _verdict(session: Session, items: list[TopologyItem]) -> int:
    different = [item for item in items if item.state == "differs"]
    for item in different:
        what = "naq setup --update changes it" if item.can_update else "an existing one cannot be changed"
        session.output.remark(f"{item.kind} {item.name} differs from what NAQ needs ({'; '.join(item.differences)}): {what}.")
    return ExitCode.REFUSED if any(item.breaks_promises for item in different) else ExitCode.OK
