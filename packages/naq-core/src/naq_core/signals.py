"""Signals that stop a service, only while it wants them: the handlers of the program come back afterwards.

`signal.signal` and not `loop.add_signal_handler`: the latter loses the handler that was there before, for good.
"""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self, TypeAlias

from naq_core.platforms import STOP_SIGNALS, at_fork

log = logging.getLogger(__name__)

CHECK_INTERVAL = 0.1
"""Seconds between two looks at who has the signals: `signal.getsignal` costs as much as a tenth of a short job."""

_receivers: "list[SignalReceiver]" = []
"""All of them get each signal: two services of one process stop together."""
_before: dict[signal.Signals, Any] = {}
"""The program's own handlers, put back when the last receiver leaves."""


Handler: TypeAlias = Callable[[int, FrameType | None], None]

_not_in_forks: set[Handler] = set()
"""Handlers of this process that have no meaning in what it forks."""


def stopping() -> list[signal.Signals]:
    """Return the signals that stop a service of this process.

    A closed terminal or ssh session sends SIGHUP, which is left alone where it is ignored, as under `nohup`.
    """
    return [each for each in STOP_SIGNALS if each.name != "SIGHUP" or signal.getsignal(each) is not signal.SIG_IGN]


class SignalReceiver:
    """Tells a service of the signals that stop it, while the body of `with` runs.

    Args:
        on_signal: Called on the event loop with the signal's name.
        is_on: False: the signals are left to the program.

    """

    def __init__(self, on_signal: Callable[[str], None], *, is_on: bool) -> None:
        self._on_signal = on_signal
        self._is_on = is_on
        self._loop: asyncio.AbstractEventLoop
        self._check_at = 0.0

    def check_thread(self) -> None:
        """Make sure that signals can be handled.

        Raises:
            RuntimeError: This is not the main thread, in which alone Python sets handlers.
        """
        if self._is_on and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("handle_signals works in the main thread only: omit it and call stop()")

    def __enter__(self) -> Self:
        if not self._is_on:
            return self
        self._loop = asyncio.get_running_loop()
        _receivers.append(self)
        if len(_receivers) == 1:
            _before.update((each, signal.signal(each, _receive)) for each in stopping())
            reset_in_forks(_receive)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._is_on:
            return
        _receivers.remove(self)
        if _receivers:
            return
        for each, handler in _before.items():
            if signal.getsignal(each) is _receive:  # else the program has set another one meanwhile
                signal.signal(each, signal.SIG_DFL if handler is None else handler)  # None: it was set in C, out of reach
        _before.clear()

    def check(self) -> None:
        """Handle the signals again where a job has taken them, so that the service can still be stopped."""
        if not self._is_on or (now := self._loop.time()) < self._check_at:
            return
        self._check_at = now + CHECK_INTERVAL
        taken = [each for each in _before if signal.getsignal(each) is not _receive]
        for each in taken:
            signal.signal(each, _receive)
        if taken:
            names = " and ".join(each.name for each in taken)
            log.warning("a job has replaced the handler of %s; the worker restores it", names)

    def tell(self, name: str) -> None:
        """Pass a signal on to the event loop, which wakes up for it."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._on_signal, name)


def _receive(number: int, _: FrameType | None) -> None:
    name = signal.Signals(number).name
    for each in tuple(_receivers):
        each.tell(name)


def reset_in_forks(handler: Handler) -> None:
    """Give the processes that are forked from now on Python's own handlers where this process has `handler`.

    What forks without `exec` (a `multiprocessing.Pool`) inherits a handler that does nothing there: SIGTERM has no effect, and
    `Pool.terminate()` never returns.
    """
    if not _not_in_forks:
        _Forking().install()
    _not_in_forks.add(handler)


class _Forking(threading.local):
    """Resets the handlers of what is forked, from its first moment on.

    The signals are blocked meanwhile: one that is sent at once would reach the inherited handler.
    """

    def __init__(self) -> None:
        self._blocked: set[int] = set()

    def install(self) -> None:
        at_fork(before=self._block, after_in_parent=self._unblock, after_in_child=self._reset)

    def _block(self) -> None:
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)

    def _reset(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for each in STOP_SIGNALS:
                if signal.getsignal(each) in _not_in_forks:
                    signal.signal(each, signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL)
        self._unblock()
