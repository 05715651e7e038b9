"""Where operating systems differ: the only module that asks which one this is.

NAQ is developed and tested on Linux. macOS and the BSDs lack what `IS_LINUX` guards. Windows lacks what all others have: fork,
signals that can be handled in the event loop, inherited descriptors. `docs/platforms.md` says what follows from it.
"""

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

IS_LINUX = sys.platform == "linux"
IS_WINDOWS = sys.platform == "win32"

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
"""The signals that stop a service."""
DUMP_SIGNAL: int | None = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else None
"""At which a child process writes the stacks of its threads. Jobs rarely use real-time signals; macOS has none."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TIED = f"""
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):  # else the parent died before the call
    os.execv(sys.argv[2], sys.argv[2:])
"""

boottime: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Returns seconds on a clock that cannot be set and that goes on while the machine sleeps, where the system has one."""


def at_fork(
    *,
    before: Callable[[], object] = lambda: None,
    after_in_parent: Callable[[], object] = lambda: None,
    after_in_child: Callable[[], object] = lambda: None,
) -> None:
    """Call these around each fork of this process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)


def handle_in_loop(numbers: Iterable[int], handler: Callable[[int], object]) -> None:
    """Call the handler with a signal's number in the running event loop. Those of Windows cannot: signals are left alone."""
    if not IS_WINDOWS:
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, handler, number)


def unsent(connection: socket.socket) -> int:
    """Return how many bytes the system holds that the peer of a connection has not acknowledged yet; 0 where it cannot tell."""
    if not IS_LINUX:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # it is closed
        return 0


def lock_file(file: IO[str]) -> bool:
    """Lock a file until it is closed or this process ends; return whether nobody else had it. On Windows nobody is kept out."""
    if IS_WINDOWS:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def has_room(stream: IO[str], seconds: float = 0.0) -> bool:
    """Tell whether up to PIPE_BUF bytes (4096 on Linux) can be written without being blocked by a reader who does not read.

    Args:
        seconds: How long to wait for room.
    """
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
    except (AttributeError, OSError, ValueError):  # Windows; no file, or a closed one
        return True


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes; 0 where it cannot be known."""
    if not IS_LINUX:
        return 0
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def child_pids() -> list[int]:
    """Return the processes whose parent this one is; none where the system does not tell."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*/stat") if IS_LINUX else ():
        with contextlib.suppress(OSError, ValueError):
            if int(each.read_bytes().rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(each.parent.name))
    return found


def adopt_orphans() -> None:
    """Become the parent of all orphans below this process; nothing happens where the system cannot do this."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def get_at_parents_death(number: int) -> None:
    """Ask for a signal when the thread that forked this process ends; nothing happens where the system cannot do this."""
    _prctl(_PR_SET_PDEATHSIG, number)


def tied_command(parent: int) -> list[str]:
    """Return a prefix for a command that makes it die with its parent; empty where the system cannot do this.

    The prefix asks for a death signal and then becomes the command, so that the process id is the command's; a `preexec_fn`
    would do without it, but is unsafe beside threads.
    """
    return [sys.executable, "-I", "-S", "-c", _TIED, str(parent)] if IS_LINUX and sys.executable else []


def _prctl(option: int, value: int) -> None:
    if IS_LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value)
