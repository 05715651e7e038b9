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
    """Show how many jobs each queue has, what the workers do, and the server.

    Args:
        watch: Again and again, with jobs per second; until Ctrl-C.
        interval: How often, with --watch.
        count: With --watch, stop after so many times.
    """
    from naq_cli._session import online
    from naq_cli.actions.stats import show_stats

    return online("stats", options, lambda session: show_stats(session, interval if watch else None, count))
