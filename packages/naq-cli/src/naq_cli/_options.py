"""Options that many commands share; nothing of NATS is imported here, so that help stays quick."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

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


COMMON = Common()
READING = Reading()
DESTROYING = Destroying()
