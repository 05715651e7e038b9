"""From the words and options of a command line to the jobs that are meant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cyclopts import Group, Parameter

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode
from naq_core.filters import build_filter
from naq_core.views import JobFilter

FILTERS = Group("Filters", sort_key=10)


@Parameter(name="*", group=FILTERS)
@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which jobs to select; each may also be written as a word, such as state:dead."""

    state: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """queued, held, running, retrying, succeeded, dead, cancelled or expired. May be repeated."""
    queue: str | None = None
    """The queue's name."""
    function: str | None = None
    """The function's name, or a part of it."""
    worker: str | None = None
    """The worker that last ran it."""
    workflow: str | None = None
    """The workflow's id."""
    schedule: str | None = None
    """The schedule that fired it."""
    error: str | None = None
    """The type of the last error, such as TimeoutError."""
    tag: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """A word that it has. May be repeated; then it must have all."""
    since: str | None = None
    """Enqueued at or after: 2h (ago) or 2026-11-24T12:30."""
    until: str | None = None
    """Enqueued before."""


NO_FILTERS = Filters()


def make_filter(words: Iterable[str], options: Filters, now: datetime) -> JobFilter:
    """Put the words and the options of a filter together; where both name a field, the option counts.

    Args:
        now: The server's time, from which durations count back.

    Raises:
        InvalidOptionError: One of them is wrong.
    """
    return build_filter(words, vars(options), options.state, options.tag, now=now)


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
