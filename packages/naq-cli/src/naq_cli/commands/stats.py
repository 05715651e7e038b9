"""`naq stats`: the numbers of all queues."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._options import READING, Reading


def stats(
    *,
    watch: Annotated[bool, Parameter(alias="-w", negative="")] = False,
    interval: str = "2s",
    count: Annotated[int | None, Parameter(alias="-n")] = None,
    options: Reading = READING,
) -> int:
    """Show the jobs of each queue, the workers' load and the server.

    Args:
        watch: Refresh until Ctrl-C, with jobs per second.
        interval: The refresh interval of --watch.
        count: With --watch, stop after this many refreshes.
    """
    from naq_cli._session import online
    from naq_cli.actions.stats import show_stats

    return online("stats", options, lambda session: show_stats(session, interval if watch else None, count))
