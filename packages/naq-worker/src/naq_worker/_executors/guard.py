"""The guard of a child process: its parent, which kills the child and everything it has started.

It does so when the child ends, and when the guard's standard input is closed: by the worker, or because the worker is gone.
What the worker writes there makes the guard ask the child for its stacks.
On Linux it inherits all orphans below it, so that also those are found which have left the child's process group.
"""

import contextlib
import os
import resource
import select
import signal

from naq_core.platforms import DUMP_SIGNAL, STOP_SIGNALS, adopt_orphans, child_pids, get_at_parents_death

_STDIN = 0


def fork_under_guard(*channels: int) -> None:
    """Fork. Return in the new process, in a process group of its own; this one becomes its guard and never returns.

    Args:
        channels: File descriptors of the new process alone.
    """
    guard, worker = os.getpid(), os.getppid()
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    adopt_orphans()
    get_at_parents_death(signal.SIGUSR1)  # where something else holds the other end of our standard input
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    if DUMP_SIGNAL is not None:
        signal.signal(DUMP_SIGNAL, signal.SIG_IGN)  # until the child can write its stacks
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    child = os.fork()
    if child == 0:
        _enter(guard, woken, waker)
        return
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    for channel in channels:
        os.close(channel)
    with contextlib.suppress(PermissionError, ProcessLookupError):  # it has done so itself, or has ended
        os.setpgid(child, child)
    status = None
    try:
        status = _watch(child, worker, woken)
    finally:
        _kill_all(child)
        _end_like(status)


def _enter(guard: int, *pipes: int) -> None:
    """Become the child."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    for each in pipes:
        os.close(each)
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    get_at_parents_death(signal.SIGKILL)
    if os.getppid() != guard:  # it died before the call
        os._exit(1)


def _watch(child: int, worker: int, woken: int) -> int | None:
    """Wait until the child ends and return its status; None where it is to be killed."""
    while True:
        ready, _, _ = select.select([_STDIN, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            if (status := _reap(child)) is not None:
                return status
        if os.getppid() != worker or (_STDIN in ready and not os.read(_STDIN, 64)):
            return None
        if _STDIN in ready and DUMP_SIGNAL is not None:  # it has not been reaped: the id is still its own
            os.kill(child, DUMP_SIGNAL)


def _reap(child: int) -> int | None:
    """Take note of all processes that have ended, orphans among them; return the status of the child, None while it runs."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in {0, child}:
            return status if pid else None


def _kill_all(child: int) -> None:
    """Kill the child's group, then everything below this process, until nothing is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # raised when nothing is left
        while True:
            for each in child_pids():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
            os.waitpid(-1, 0)  # the children of what has ended are ours now


def _end_like(status: int | None) -> None:
    """End as the child has ended, so that the worker can tell how."""
    code = 1 if status is None else os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if code != -signal.SIGKILL:
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
    os._exit(max(code, 1) if code < 0 else code)
