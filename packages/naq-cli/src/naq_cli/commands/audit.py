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
    """List what was done with the dashboard and this command, and what was refused, the newest first.

    Args:
        by: Only by this user, such as alice, or ada@host of a terminal.
        action: Only this, such as cancel-job or purge-queue.
        kind: Only to a job, jobs, queue, schedule, worker, workflow, or login.
        target: Only to what has this in its id or name.
        outcome: Only what is begun, done, refused, failed or stopped.
        limit: How many.
        cursor: Go on where the page before ended.
    """
    from naq_cli._session import online
    from naq_cli.actions.audit import print_trail
    from naq_core.views import AuditFilter

    wanted = AuditFilter(by=by, action=action, kind=kind, target=target, outcome=outcome)
    return online("audit", options, lambda session: print_trail(session, wanted, limit, cursor))
