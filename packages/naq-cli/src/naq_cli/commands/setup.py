"""`naq setup`: streams and consumers before the first job."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import READING, Reading


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
    from naq_cli._session import online
    from naq_cli.actions.setup import set_up

    return online(
        "setup", options, lambda session: set_up(session, list(queues), dry_run=dry_run, update=update), replicas=replicas
    )
