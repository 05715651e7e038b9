"""What a command does first: it takes a process as it finds it, without standard streams or as the first one of a container."""

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from naq_core.standard_streams import OutputError, flush_output, guard_standard_streams


def run_process(main: Callable[[], int]) -> NoReturn:
    """Run a command as this process: prepare it, and exit with the command's code or with that of output that failed.

    To be called before threads are started and files are opened.
    """
    prepare_process()
    code: object = 0
    try:
        code = main()
    except SystemExit as end:  # a signal, or a parser that has printed its help
        code = end.code
    except OutputError:
        pass
    failed = flush_output()
    sys.exit(code if failed is None else failed)  # type: ignore[arg-type]


def prepare_process() -> None:
    """Open the standard streams that are missing, guard them, and be the init process where this is process 1."""
    open_missing_streams()
    guard_standard_streams()
    if os.getpid() == 1:
        fork_from_init()


def open_missing_streams() -> None:
    """Open descriptors 0 to 2 on the null device where they are closed: the next file or socket would take their numbers."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)
        setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def fork_from_init() -> None:
    """Return in a child process; this one reaps orphans, passes signals on, and exits as the child does.

    The first process of a container becomes the parent of what jobs leave behind, and the kernel gives it no default
    action for a signal.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        received = signal.sigwaitinfo(signal.valid_signals())
        if received.si_signo != signal.SIGCHLD:
            if received.si_code <= 0:  # sent by a process; the child has got those of the terminal itself
                os.kill(child, received.si_signo)
            continue
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                os._exit(code if code >= 0 else 128 - code)
