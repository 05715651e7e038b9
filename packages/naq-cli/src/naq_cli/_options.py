"""Options that many commands share."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode
from naq_core.settings import parse_duration

CONNECTION = Group("Connection", sort_key=90)
OUTPUT = Group("Output", sort_key=91)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command that connects to the server."""

    nats_url: Annotated[str | None, Parameter(group=CONNECTION)] = None
    """The server's address (NAQ_NATS_URL, else nats://localhost:4222)."""
    context: Annotated[str | None, Parameter(group=CONNECTION)] = None
    """A context of the nats command, with address and credentials (NAQ_NATS_CONTEXT)."""
    namespace: Annotated[str | None, Parameter(group=CONNECTION)] = None
    """The prefix of NAQ's streams and subjects (NAQ_NAMESPACE, else naq)."""
    quiet: Annotated[bool, Parameter(alias="-q", negative="", group=OUTPUT)] = False
    """Print only names and ids."""
    color: Annotated[bool | None, Parameter(group=OUTPUT)] = None
    """Use colour; by default on a terminal unless NO_COLOR is set."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reading(Common):
    """Options of every command that shows something."""

    json: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False
    """Print one JSON document."""
    jsonl: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False
    """Print one JSON document per line."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Destroying(Common):
    """Options of every command that cannot be undone."""

    yes: Annotated[bool, Parameter(alias="-y", negative="", group=OUTPUT)] = False
    """Do not ask for confirmation."""


READING = Reading()


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
