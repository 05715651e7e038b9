"""The health of a worker, or of several, over HTTP."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from naq_core.errors import ConfigurationError
from naq_core.health import Answer, serve
from naq_core.values import whole
from naq_worker._options import Options

__all__ = ["Answer", "health_address"]

log = logging.getLogger(__name__)


@asynccontextmanager
async def health_address(options: Options, ready: Callable[[], Answer]) -> AsyncIterator[None]:
    """Answer `/livez` and `/readyz` until the block ends, if a port was asked for.

    Raises:
        ConfigurationError: There is no such port, or it cannot be had.
    """
    if options.http_port is None:
        yield
        return
    host, port = options.http_host, whole(options.http_port, "http_port", 0, 65535)
    async with AsyncExitStack() as stack:
        try:
            found = await stack.enter_async_context(serve({"/livez": _alive, "/readyz": ready}, host, port))
        except OSError as error:
            raise ConfigurationError("http_port", f"cannot listen on {host}:{port}: {error}", "argument") from error
        log.info("health at http://%s:%d", host, found)
        yield


def _alive() -> Answer:
    """Say so: an event loop that is blocked does not answer."""
    return 200, "alive\n"
