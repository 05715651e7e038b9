"""From the words and options of a command line to the jobs that are meant."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from naq_cli._errors import CommandError
from naq_cli.commands.job import Filters
from naq_cli.exit_codes import ExitCode
from naq_core.filters import build_filter
from naq_core.settings import parse_duration
from naq_core.views import JobFilter


def make_filter(words: Iterable[str], options: Filters, now: datetime) -> JobFilter:
    """Put the words and the options of a filter together; where both name a field, the option counts.

    Args:
        now: The server's time, from which durations count back.

    Raises:
        ConfigurationError: One of them is wrong.
    """
    return build_filter(words, vars(options), options.state, now=now)


def ids_or_filter(targets: Sequence[str], options: Filters, now: datetime) -> tuple[list[str], JobFilter | None]:
    """Tell ids from a filter: a word with a colon is one of a filter, and so is every option.

    Raises:
        CommandError: Neither is given, or both.
    """
    has_filter = options != Filters() or any(":" in each for each in targets)
    ids = [each for each in targets if ":" not in each]
    if has_filter and ids:
        raise CommandError(f"give ids or a filter, not both: {ids[0]} is an id", ExitCode.USAGE)
    if has_filter:
        return [], make_filter(targets, options, now)
    if not ids:
        raise CommandError("which jobs? Give ids, or a filter such as state:dead queue:emails", ExitCode.USAGE)
    return ids, None


def seconds_of(text: str | None, option: str) -> float | None:
    """Return a duration of the command line in seconds.

    Raises:
        CommandError: The value is not valid.
    """
    if text is None:
        return None
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise CommandError(f"{option}: {text!r} {error}", ExitCode.USAGE) from error
