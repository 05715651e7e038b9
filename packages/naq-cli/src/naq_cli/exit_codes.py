"""What the exit codes of `naq` mean."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes; scripts may rely on them."""

    OK = 0
    """Done, or stopped cleanly by a signal that asked for it."""
    FAILED = 1
    """What was asked for did not work."""
    USAGE = 2
    """A wrong command line or setting."""
    UNREACHABLE = 3
    """No usable NATS server at the address."""
    IMPORT_FAILED = 4
    """A module of yours, or another distribution's command, cannot be imported."""
    NOT_INSTALLED = 127
    """The distribution that brings the command is not installed."""
    INTERRUPTED = 130
    """Ctrl-C before the command was done."""
