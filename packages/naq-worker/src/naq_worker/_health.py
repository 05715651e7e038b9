"""The health and the figures of a worker process over HTTP, and what systemd is told of it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator

from naq_core.errors import ConfigurationError
from naq_core.health import Answer, Routes, serve, serve_beside
from naq_core.notify import ServiceState, notifying
from naq_core.pulse import SILENT, Pulse
from naq_core.values import whole
from naq_worker._options import Options
from naq_worker._own_metrics import FigureReader, as_text
from naq_worker.worker import Worker

__all__ = ["Answer", "health_address", "observed"]

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def health_address(options: Options, routes: Routes) -> AsyncIterator[None]:
    """Answer until the block ends, if a port was asked for.

    Raises:
        ConfigurationError: There is no such port, or it cannot be had.
    """
    if options.http_port is None:
        yield
        return
    with _its_errors(options) as (host, port):
        async with serve(routes, host, port) as found:
            log.info("health at http://%s:%d", host, found)
            yield


@contextlib.contextmanager
def _its_errors(options: Options) -> Iterator[tuple[str, int]]:
    host, port = options.http_host, whole(options.http_port, "http_port", 0, 65535)
    try:
        yield host, port
    except OSError as error:
        raise ConfigurationError("http_port", f"cannot listen on {host}:{port}: {error}", "argument") from error


@contextlib.contextmanager
def observed(worker: Worker, options: Options, beat: Callable[[], None] | None) -> Iterator[None]:
    """Let others see how a worker is while the body runs it, from its event loop.

    Args:
        worker: The worker.
        options: With the port of its health address, if it has one.
        beat: Called every second while the event loop turns. None: nobody listens.

    Raises:
        ConfigurationError: The port cannot be had.
    """
    with contextlib.ExitStack() as stack:
        pulse = Pulse(beat or (lambda: None))
        if beat is not None or options.http_port is not None:
            pulse.start()
            stack.callback(pulse.stop)
        if options.http_port is not None:
            worker.keep_figures()
            with _its_errors(options) as (host, port):
                found = stack.enter_context(serve_beside(_routes(worker, pulse), host, port))
            log.info("health at http://%s:%d", host, found)
        stack.enter_context(notifying(lambda: _state(worker)))
        yield


def _routes(worker: Worker, pulse: Pulse) -> Routes:
    reader = FigureReader(worker)

    def alive() -> Answer:
        return alive_if_silent_for(pulse.silent_for, "the event loop has been blocked")

    def ready() -> Answer:
        return (200, "takes jobs\n") if worker.is_ready else (503, "takes no jobs: not connected, quiet or stopping\n")

    def started() -> Answer:
        return (200, "started\n") if worker.has_begun else (503, "is starting\n")

    async def metrics() -> Answer:
        return 200, as_text([({}, await asyncio.to_thread(reader.wait))])

    return {"/livez": alive, "/readyz": ready, "/startupz": started, "/metrics": metrics}


def alive_if_silent_for(seconds: float, what: str) -> Answer:
    """Return the answer of `/livez`."""
    return (200, "alive\n") if seconds < SILENT else (503, f"{what} for {seconds:.0f} s\n")


def _state(worker: Worker) -> ServiceState:
    if worker.state != "running":
        text = worker.state
    else:
        text = "takes jobs" if worker.is_ready else "not connected" if worker.has_begun else "starting"
    status = f"{text}; {worker.in_hand} of {worker.concurrency} slots busy"
    return ServiceState(is_ready=worker.has_begun, is_stopping=worker.state == "stopping", status=status)
