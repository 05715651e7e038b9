"""Takes from a process what Windows lacks, before NAQ is imported: what then works needs none of it. It is not Windows."""

from __future__ import annotations

import asyncio
import importlib
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

import pytest

OTHERS = (
    *("asyncio.subprocess", "cloudpickle", "concurrent.futures.process", "croniter", "cyclopts", "getpass", "http.server"),
    *("jinja2", "litestar", "litestar.testing", "multiprocessing.pool", "nats.aio.client", "nats.js", "opentelemetry.sdk.trace"),
    *("prometheus_client", "rich.console", "uvicorn", "watchfiles"),
)
"""What other projects and Python do on Windows is their affair: imported before."""
LACKING = {
    os: ("fork", "getpgid", "getuid", "killpg", "register_at_fork", "setpgid", "setsid", "sysconf", "WNOHANG"),
    select: ("poll",),
    signal: (
        *("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGRTMIN", "SIGSTOP", "SIGUSR1", "SIGUSR2", "SIG_BLOCK"),
        *("SIG_SETMASK", "pthread_sigmask", "siginterrupt", "sigwaitinfo"),
    ),
    socket: ("MSG_DONTWAIT",),
    time: ("CLOCK_BOOTTIME", "clock_gettime"),
}
MODULES = ("fcntl", "grp", "pwd", "resource", "termios")


def hide() -> None:
    """Take it all away from this process, for good."""
    for name in OTHERS:
        importlib.import_module(name)
    asyncio.new_event_loop().close()  # from Python 3.14 on the kind of event loop is chosen late
    patch = pytest.MonkeyPatch()
    for module, names in LACKING.items():
        for name in names:
            patch.delattr(module, name)
    for name in MODULES:
        patch.setitem(sys.modules, name, None)
    patch.setattr(sys, "platform", "win32")
    patch.setattr(asyncio.unix_events._UnixSelectorEventLoop, "add_signal_handler", _refuse)


def _refuse(*_: Any) -> NoReturn:
    raise NotImplementedError
