"""What the exit codes of `naq` mean."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes; scripts may rely on them."""

    OK = 0
    """Done, or stopped cleanly by a signal that asked for it."""
    FAILED = 1
    """What was asked for did not work; a job that was waited for did not succeed; a check found a problem."""
    USAGE = 2
    """A wrong command line or setting, or a question that needs a terminal (`--yes` answers it)."""
    UNREACHABLE = 3
    """No usable NATS server at the address."""
    IMPORT_FAILED = 4
    """A module of yours, or another distribution's command, cannot be imported."""
    NOT_FOUND = 5
    """No job, queue, schedule, workflow or worker of that name."""
    TIMED_OUT = 6
    """The server did not answer in time; what was asked may or may not have happened."""
    REFUSED = 7
    """It clashes with what is there: a job of that id, another state, a full stream."""
    WAIT_TIMED_OUT = 124
    """`--timeout` passed before the job had ended; it goes on."""
    NOT_INSTALLED = 127
    """The distribution that brings the command is not installed."""
    INTERRUPTED = 130
    """Ctrl-C before the command was done."""
    BROKEN_PIPE = 141
    """The reader of the output has gone, as `head` does."""
    TERMINATED = 143
    """SIGTERM before the command was done."""
