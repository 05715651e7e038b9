"""`naq top`: queues, workers, jobs and failures, live in the terminal."""

import sys

from naq_cli._errors import CommandError
from naq_cli._filters import NO_FILTERS, Filters, make_filter
from naq_cli._options import seconds_of
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core.tasks import finish

SHORTEST_SECONDS = 0.1


@connected("top")
async def top(session: Session, *words: str, interval: str = "1s", filters: Filters = NO_FILTERS) -> int:
    """Show queues, workers, jobs and failures, live, until q; pause queues, retry jobs and read their logs.

    Args:
        words: Show only these jobs: filters such as queue:emails since:2h, as of naq job list.
        interval: The refresh interval.
    """
    seconds = seconds_of(interval, "--interval") or 0
    if seconds < SHORTEST_SECONDS:
        raise CommandError(f"--interval: {interval!r} is shorter than {SHORTEST_SECONDS} s", ExitCode.USAGE)
    wanted = make_filter(words, filters, session.connection.clock.utc())
    try:
        from naq_cli.top.screen import Top
    except ModuleNotFoundError as error:
        if error.name != "textual":
            raise
        raise CommandError(
            "Textual is not installed. Install it: pip install 'naq-cli[top]'  # or: uv add 'naq-cli[top]'",
            ExitCode.NOT_INSTALLED,
        ) from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("needs a terminal. For programs: naq stats --watch --jsonl", ExitCode.USAGE)
    screen = Top(session, wanted, seconds)
    # A signal must not leave the terminal without echo.
    await finish(screen.run_async(), lambda _: screen.exit(), name="naq-top")
    return screen.return_code or ExitCode.OK
