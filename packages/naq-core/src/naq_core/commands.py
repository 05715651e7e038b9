"""What the commands that run a service share: imports, the event loop, and what is said when NATS is away."""

import asyncio
import importlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from naq_core.errors import BrokerUnavailableError, TlsNotOfferedError
from naq_core.settings import Settings

log = logging.getLogger(__name__)


def make_current_directory_importable() -> None:
    """Put it first on the path, as `python -m` does; a console script does not."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def import_modules(modules: Iterable[str]) -> str | None:
    """Import modules of users, and return what is wrong with the first that cannot be, as a sentence."""
    for module in modules:
        try:
            with _own_interrupts():
                importlib.import_module(module)
        except _CtrlC:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a script without a __main__ guard calls sys.exit
            log.debug("importing %s failed", module, exc_info=True)
            return (
                f"cannot import {module} (from --imports): {type(error).__name__}: {error}."
                f" Looked in {Path.cwd()} and the Python path; --log-level DEBUG shows the traceback."
            )
    return None


class _CtrlC(KeyboardInterrupt):
    """SIGINT, and not a module that raises KeyboardInterrupt itself."""


@contextmanager
def _own_interrupts() -> Iterator[None]:
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise _CtrlC

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:  # else the module has set its own
            signal.signal(signal.SIGINT, signal.default_int_handler)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's where it is installed, else None for asyncio's own."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def unreachable(nats_url: str | None, error: BrokerUnavailableError) -> str:
    """Say that NATS cannot be reached, where its address comes from, and what to type.

    Args:
        nats_url: The address as the command was given it.
        error: What happened.
    """
    settings = Settings.load(nats_url=nats_url)
    source = settings.source("nats_url")
    origin = {"default": "the default of NAQ_NATS_URL", "argument": "from --nats-url"}.get(source, f"from {source}")
    advice = "" if isinstance(error, TlsNotOfferedError) else " Start one: naq server, or docker run -p 4222:4222 nats -js"
    return f"cannot reach NATS at {settings.redacted_url()} ({origin}): {error.reason}.{advice}"
