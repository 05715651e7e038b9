"""`naq audit`: who did what."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import READING, Reading


def audit(
    *,
    by: str = "",
    action: str = "",
    kind: str = "",
    target: str = "",
    outcome: str = "",
    limit: Annotated[int, Parameter(alias="-n")] = 50,
    cursor: str | None = None,
    options: Reading = READING,
) -> int:
    """List the actions of the dashboard and this command, including refused ones, newest first.

    Args:
        by: Only actions of this user, such as alice, or ada@host for a terminal.
        action: Only this action, such as cancel-job or purge-queue.
        kind: Only actions on this kind of target: job, jobs, queue, schedule, worker, workflow, or login.
        target: Only targets with this text in their id or name.
        outcome: Only this outcome: begun, done, refused, failed or stopped.
        limit: Entries per page.
        cursor: Continue where the previous page ended.
    """
    from naq_cli._session import online
    from naq_cli.actions.audit import print_trail
    from naq_core.views import AuditFilter

    wanted = AuditFilter(by=by, action=action, kind=kind, target=target, outcome=outcome)
    return online("audit", options, lambda session: print_trail(session, wanted, limit, cursor))
