"""`naq setup`: streams and consumers before the first job."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import READING, Reading
from naq_cli._output import Column
from naq_cli._session import Session, online
from naq_cli.exit_codes import ExitCode
from naq_core.inspect import TopologyItem
from naq_core.manage import apply_topology

COLUMNS = (
    Column("Name", lambda item: item.name),
    Column("Kind", lambda item: item.kind),
    Column("State", lambda item: item.state),
    Column("Differences", lambda item: item.differences, wrap=True),
)


def setup(
    *queues: str,
    replicas: int | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    update: Annotated[bool, Parameter(negative="")] = False,
    options: Reading = READING,
) -> int:
    """Create NAQ's streams and the consumers of queues if they are missing.

    Producers and workers do the same when they first need them. Do it by hand where they may not (see docs/security.md), or
    where an autoscaler must find a queue's consumer before anything was enqueued.

    Args:
        queues: Queues to create consumers for. Default: NAQ_DEFAULT_QUEUE.
        replicas: Copies of each stream in a cluster, 1 to 5 (NAQ_REPLICAS).
        dry_run: Only print what would be done.
        update: Also update existing streams and consumers that differ, as far as the server allows.
    """

    async def create(session: Session) -> int:
        names = list(queues) or [session.settings.default_queue]
        items = await apply_topology(session.connection, names, update=update, dry_run=dry_run)
        session.output.list(items, COLUMNS, key=lambda item: item.name, empty="")
        if dry_run:
            session.output.remark("Nothing was changed (--dry-run).")
        return _verdict(session, items)

    return online("setup", options, create, replicas=replicas)


def _verdict(session: Session, items: list[TopologyItem]) -> int:
    different = [item for item in items if item.state == "differs"]
    for item in different:
        what = "naq setup --update changes it" if item.can_update else "an existing one cannot be changed"
        session.output.remark(f"{item.kind} {item.name} differs from what NAQ needs ({'; '.join(item.differences)}): {what}.")
    return ExitCode.REFUSED if any(item.breaks_promises for item in different) else ExitCode.OK
