"""What a service tells systemd about itself: sd_notify(3), for units with `Type=notify` and `WatchdogSec=`.

The protocol is a datagram of lines to the socket that `NOTIFY_SOCKET` names; a library for it would be longer than this file.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, MutableMapping
from typing import NamedTuple

from naq_core.pulse import Pulse

log = logging.getLogger(__name__)

LONGEST_BEAT = 1.0
"""Seconds between two looks at the state of the service."""


class ServiceState(NamedTuple):
    """What there is to tell."""

    is_ready: bool
    """It does its work; told once."""
    is_stopping: bool
    """It begins nothing new; told once."""
    status: str
    """One line for `systemctl status`."""
    is_alive: bool = True
    """False: the watchdog is to restart it."""


class Notifier:
    """Tells systemd what has changed in the state of this service.

    Args:
        address: The socket, as in `NOTIFY_SOCKET`; with `@` in front an abstract one.
        watchdog: Seconds within which systemd expects a sign of life; None: it does not.
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        self.every = LONGEST_BEAT if watchdog is None else min(LONGEST_BEAT, watchdog / 2)
        """Seconds between two calls of `update`."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._has_watchdog = watchdog is not None
        self._told: set[str] = set()
        self._status = ""
        self._complained = False

    def update(self, state: ServiceState) -> None:
        """Tell what has changed, and give a sign of life."""
        lines = []
        for name, is_so in (("READY=1", state.is_ready), ("STOPPING=1", state.is_stopping)):
            if is_so and name not in self._told:
                self._told.add(name)
                lines.append(name)
        status = " ".join(state.status.split())
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if self._has_watchdog and state.is_alive:
            lines.append("WATCHDOG=1")
        if lines:
            self._send("\n".join(lines).encode())

    def _send(self, data: bytes) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(data, self._address)
        except OSError as error:
            log.log(logging.DEBUG if self._complained else logging.WARNING, "systemd cannot be notified: %s", error)
            self._complained = True


def take_notifier(environment: MutableMapping[str, str], pid: int) -> Notifier | None:
    """Return the notifier that systemd asks for, and remove its variables: a program that a job starts must not use them.

    Args:
        environment: Of this process.
        pid: Of this process; the watchdog may be meant for another one.

    Returns:
        None where no `NOTIFY_SOCKET` is given, or one of a kind that this platform lacks.
    """
    address, microseconds, meant = (environment.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
    if not address:
        return None
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        log.warning("NOTIFY_SOCKET is not a Unix socket and is ignored: %s", address)
        return None
    is_watched = microseconds.isascii() and microseconds.isdecimal() and int(microseconds) > 0 and meant in {"", str(pid)}
    return Notifier(address, int(microseconds) / 1e6 if is_watched else None)


@contextlib.contextmanager
def notifying(state: Callable[[], ServiceState]) -> Iterator[None]:
    """Keep systemd informed while the body runs, from the running event loop; does nothing without `NOTIFY_SOCKET`.

    Args:
        state: Returns the present state; called at least once a second.
    """
    notifier = take_notifier(os.environ, os.getpid())
    if notifier is None:
        yield
        return
    pulse = Pulse(lambda: notifier.update(state()), notifier.every)
    pulse.start()
    try:
        yield
    finally:
        pulse.stop()
        notifier.update(state()._replace(is_stopping=True))
