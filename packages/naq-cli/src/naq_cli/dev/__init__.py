"""`naq dev`: everything that development needs, in one terminal."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import OUTPUT


def dev(
    *modules: str,
    queue: Annotated[tuple[str, ...], Parameter(alias="-Q", negative="")] = (),
    concurrency: Annotated[int | None, Parameter(alias="-c")] = None,
    nats_port: int | None = None,
    dashboard_port: int | None = None,
    persist: Path | None = None,
    reload: bool = True,
    headless: Annotated[bool, Parameter(negative="")] = False,
    log_level: str | None = None,
    log_format: str | None = None,
    color: Annotated[bool | None, Parameter(group=OUTPUT)] = None,
) -> int:
    """Run a NATS server, a worker and, if installed, the scheduler and the dashboard, until Ctrl-C.

    The worker restarts when a Python file below this folder changes. Jobs are deleted at exit unless --persist keeps
    them. For development only: no authentication, on the loopback address.

    Args:
        modules: Modules with your tasks, imported by the worker.
        queue: A queue to serve; may be repeated. Default: every queue.
        concurrency: How many jobs run at a time.
        nats_port: The server's port; 0 picks a free one. Default: 4222, or a free one if 4222 is in use.
        dashboard_port: The dashboard's port. Default: 8080, or a free one if 8080 is in use.
        persist: Keep jobs in this folder.
        reload: Restart the worker when files change.
        headless: Run only the server: no worker, scheduler or dashboard.
        log_level: Log level of all processes: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        log_format: The same: console, json or logfmt.
        color: Use colour; by default on a terminal unless NO_COLOR is set.
    """
    from naq_cli.dev.development import DevOptions, develop

    return develop(
        DevOptions(
            modules=modules,
            queues=queue,
            concurrency=concurrency,
            nats_port=nats_port,
            dashboard_port=dashboard_port,
            persist=persist,
            reload=reload,
            headless=headless,
            log_level=log_level,
            log_format=log_format,
            color=color,
        )
    )
