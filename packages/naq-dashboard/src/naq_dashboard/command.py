"""The command that serves the dashboard: `naq dashboard` and `python -m naq_dashboard`."""

import getpass
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from naq_core.commands import make_current_directory_importable
from naq_core.errors import ConfigurationError
from naq_core.layers import load
from naq_core.logs import complain, logging_set_up, say
from naq_core.settings import Settings
from naq_core.signals import stopping
from naq_core.standard_streams import treat_output_as_log
from naq_dashboard.access.passwords import hash_password
from naq_dashboard.app import create_app
from naq_dashboard.settings import DashboardSettings
from naq_dashboard.state import AppState

__all__ = ["dashboard"]

_NAME = "dashboard"
_USAGE, _CANNOT_LISTEN, _INTERRUPTED = 2, 1, 130
GRACE = 2
"""Seconds that requests may take to end after a signal; streams end at once."""
BACKLOG = 2048


def dashboard(  # noqa: PLR0913 - options by keyword
    *,
    host: str | None = None,
    port: int | None = None,
    nats_url: str | None = None,
    root_path: str | None = None,
    read_only: bool = False,
    insecure_no_auth: bool = False,
    log_level: str | None = None,
    log_format: str | None = None,
    hash_password: bool = False,
) -> int:
    """Serve the dashboard until a signal stops it.

    It also starts while NATS is down, and says so. Passwords, tokens and proxies are set in the environment
    (NAQ_DASHBOARD_PASSWORD and others, see docs/dashboard.md).

    Args:
        host: The address to listen on (NAQ_DASHBOARD_HOST, else 127.0.0.1). Any address but loopback needs a login.
        port: The port (NAQ_DASHBOARD_PORT, else 8080); 0 picks a free one.
        nats_url: The NATS server (NAQ_NATS_URL, else nats://localhost:4222).
        root_path: The path under which a proxy serves the dashboard, such as /naq.
        read_only: Refuse every action, for every user.
        insecure_no_auth: Listen on any address without a login.
        log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL (NAQ_LOG_LEVEL, else INFO).
        log_format: console, json or logfmt (NAQ_LOG_FORMAT, else console).
        hash_password: Ask for a password, print its hash for NAQ_DASHBOARD_PASSWORD or _USERS, and exit.

    Returns:
        The exit code: 0 stopped cleanly, 1 cannot listen on the address, 2 a wrong setting, 130 interrupted.
    """
    if hash_password:
        return _print_hash()
    treat_output_as_log()
    shape = "console"
    try:
        settings = Settings.load(nats_url=nats_url, log_level=log_level, log_format=log_format)
        shape = settings.log_format
        own = DashboardSettings.load(
            host=host,
            port=port,
            root_path=root_path,
            read_only=read_only or None,
            insecure_no_auth=insecure_no_auth or None,
        )
        own.check_exposure()
        if settings.middleware:
            make_current_directory_importable()
            load(settings.middleware, settings.source("middleware"))
    except ConfigurationError as error:
        return complain(_NAME, str(error), _USAGE, shape)
    with logging_set_up(settings):
        pass
    if settings.log_level != "DEBUG":  # uvicorn's four lines at each start and stop; where to go is printed anyway
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
    app = create_app(settings, own)
    try:
        listener = _listen(own)
    except OSError as error:
        return complain(_NAME, f"cannot listen on {own.host}, port {own.port}: {error.strerror}", _CANNOT_LISTEN, shape)
    shown = f"[{own.host}]" if ":" in own.host else own.host
    say(_NAME, f"http://{shown}:{listener.getsockname()[1]}{own.root_path}", shape)
    # uvicorn would put the address that a proxy names in the place of the proxy's, by which we know whom to believe.
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
        server_header=False,
        proxy_headers=False,
    )
    server = Server(config, app.state.naq_dashboard)
    for each in stopping():
        if each.name == "SIGHUP":  # uvicorn handles the others
            signal.signal(each, server.handle_exit)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


class Server(uvicorn.Server):
    """A uvicorn server that ends open event streams on a signal; uvicorn alone waits for them without limit."""

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn calls it
        """End the live streams, then stop; a second Ctrl-C does not wait for anything. The exit code stays ours."""
        self._state.end_streams()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _listen(own: DashboardSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in own.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((own.host, own.port))
        listener.listen(BACKLOG)  # clients that read the address below can connect at once
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


def _print_hash() -> int:
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    else:  # as UTF-8 whatever the locale: the browser sends it so
        try:
            password = sys.stdin.buffer.readline().rstrip(b"\r\n").decode()
        except UnicodeDecodeError:
            return complain(_NAME, "the password is not UTF-8", _USAGE)
    if not password:
        return complain(_NAME, "an empty password protects nothing", _USAGE)
    sys.stdout.write(f"{hash_password(password)}\n")
    return 0
