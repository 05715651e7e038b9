"""SIGTERM and SIGINT stop the scheduler."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at each of the signals while the body runs; outside the main thread, where Python takes none, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def on_signal(name: str) -> None:
        log.info("%s: handing over", name)
        stop()

    for each in SIGNALS:
        loop.add_signal_handler(each, on_signal, each.name)
    try:
        yield
    finally:
        for each in SIGNALS:
            loop.remove_signal_handler(each)
