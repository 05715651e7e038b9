"""`naq dev`: everything that development needs, in one terminal."""

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from naq_cli._errors import CommandError, report
from naq_cli._options import OUTPUT
from naq_cli._plugins import find_plugins
from naq_cli._root_help import uses_color
from naq_cli.dev.children import DevProcess, Log, LogHandler
from naq_cli.dev.describing import describe_event
from naq_cli.dev.keeping import ProcessKeeper
from naq_cli.exit_codes import ExitCode
from naq_core.connection import Connection
from naq_core.errors import BrokerError, ConfigurationError
from naq_core.events import events
from naq_core.inspect import list_queues
from naq_core.platforms import IS_WINDOWS, handle_in_loop
from naq_core.reloading import can_watch_files, changed_files
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.signals import stopping
from naq_core.tasks import services

_NATS_PORT, _DASHBOARD_PORT = 4222, 8080
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
_HEAD_START_SECONDS = 3.0
_SHOWN = frozenset({"retrying", "succeeded", "failed", "cancelled", "expired"})
_CREDENTIALS = ("USER", "PASSWORD", "PASSWORD_FILE", "TOKEN", "TOKEN_FILE", "CREDS", "NKEY", "CONTEXT")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DevOptions:
    """The options of `naq dev`."""

    queue: Annotated[tuple[str, ...], Parameter(alias="-Q", negative="")] = ()
    """A queue to serve; may be repeated. Default: every queue."""
    concurrency: Annotated[int | None, Parameter(alias="-c")] = None
    """How many jobs run at a time."""
    nats_port: int | None = None
    """The server's port; 0 picks a free one. Default: 4222, or a free one if 4222 is in use."""
    dashboard_port: int | None = None
    """The dashboard's port. Default: 8080, or a free one if 8080 is in use."""
    persist: Path | None = None
    """Keep jobs in this folder."""
    reload: bool = True
    """Restart the worker when files change."""
    headless: Annotated[bool, Parameter(negative="")] = False
    """Run only the server: no worker, scheduler or dashboard."""
    log_level: str | None = None
    """Log level of all processes: DEBUG, INFO, WARNING, ERROR or CRITICAL."""
    log_format: str | None = None
    """The same: console, json or logfmt."""
    color: Annotated[bool | None, Parameter(group=OUTPUT)] = None
    """Use colour; by default on a terminal unless NO_COLOR is set."""


_NO_OPTIONS = DevOptions()


def dev(*modules: str, options: DevOptions = _NO_OPTIONS) -> int:
    """Run a NATS server, a worker and, if installed, the scheduler and the dashboard, until Ctrl-C.

    The worker restarts when a Python file below this folder changes. Jobs are deleted at exit unless --persist keeps
    them. For development only: no authentication, on the loopback address.

    Args:
        modules: Modules with your tasks, imported by the worker.
    """
    log = Log(color=uses_color(sys.stdout, forced=options.color))
    settings: Settings | None = None
    try:
        settings = Settings.load(log_level=options.log_level, log_format=options.log_format)
        log.format = settings.log_format
        logging.getLogger().addHandler(LogHandler(log))
        _need_signals()
        if not options.headless:
            _need_worker()
        with _server(options, log) as server:
            return asyncio.run(_Development(modules, options, settings, server, log).run())
    except KeyboardInterrupt:  # before the signal handlers stood
        return ExitCode.INTERRUPTED
    except (CommandError, ConfigurationError) as error:
        return report("dev", error, settings)


def _need_signals() -> None:
    if IS_WINDOWS:
        raise CommandError("naq dev does not run on Windows: run naq server and naq worker in two terminals")


def _need_worker() -> None:
    if importlib.util.find_spec("naq_worker") is None:
        raise CommandError(
            "naq-worker is not installed. Install it: pip install naq-worker, or run the server alone: naq dev --headless",
            ExitCode.NOT_INSTALLED,
        )


@contextlib.contextmanager
def _server(options: DevOptions, log: Log) -> Iterator[EmbeddedServer]:
    """Run nats-server, on another port where the usual one is taken and none was asked for."""
    port = options.nats_port
    if port is None:
        port = _NATS_PORT if _is_free(_NATS_PORT) else 0
    elif port and not _is_free(port):
        raise CommandError(f"port {port} (from --nats-port) is in use. Use a free one: --nats-port 0", ExitCode.FAILED)
    with EmbeddedServer(port=port, store_dir=options.persist) as server:
        if options.nats_port is None and server.port != _NATS_PORT:
            log.line("naq", f"Port {_NATS_PORT} is in use. In other terminals, type this first:")
            log.line("naq", f"  export NAQ_NATS_URL={server.url}")
        yield server


class _Development:
    """The processes, and what starts them again."""

    def __init__(
        self, modules: tuple[str, ...], options: DevOptions, settings: Settings, server: EmbeddedServer, log: Log
    ) -> None:
        self._modules = modules
        self._options = options
        self._settings = settings
        self._server = server
        self._log = log
        self._stop = asyncio.Event()
        self._signals = 0
        self._environment = _environment(server.url)
        self._queues = list(options.queue) or [settings.default_queue]
        self._keepers: list[ProcessKeeper] = []
        self._reloaded: list[ProcessKeeper] = []
        self._dashboard_port = options.dashboard_port or 0

    async def run(self) -> int:
        """Start everything, wait for a signal, stop everything."""
        handle_in_loop(stopping(), self._on_signal)
        plugins = {} if self._options.headless else find_plugins()
        self._greet(dashboard="dashboard" in plugins)
        duties = [self._watch_server()]
        if not self._options.headless:
            names = ["worker", *(name for name in ("scheduler", "dashboard") if name in plugins)]
            worker, *others = [self._keep(name) for name in names]
            duties += [worker.run(), self._follow(worker), *(self._run_later(each, worker) for each in others)]
            if self._options.reload:
                duties.append(self._watch_files())
        try:
            async with services() as running:
                for duty in duties:
                    running.start(duty, "naq-dev")
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing may go on in a broken state
            self._log.line("naq", f"ended by an error: {error!r}")
            return ExitCode.FAILED
        else:
            return ExitCode.OK
        finally:
            self._stop.set()
            await self._end_children()

    def _on_signal(self, _: int) -> None:
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            for keeper in self._keepers:
                keeper.child.signal(signal.SIGKILL)

    async def _end_children(self) -> None:
        running = [keeper for keeper in self._keepers if keeper.child.is_running]
        if running:
            self._log.line("naq", f"Stopping {', '.join(keeper.child.name for keeper in running)}; Ctrl-C again kills them.")
        await asyncio.gather(*(keeper.child.stop(keeper.patience) for keeper in running))
        kept = f"Jobs are kept in {self._options.persist}." if self._options.persist else "The jobs are deleted."
        self._log.line("naq", f"Stopped. {kept}")

    def _greet(self, *, dashboard: bool) -> None:
        say = self._log.line
        options = self._options
        say("naq", f"NATS server at {self._server.url}")
        kept = f"Jobs are kept in {options.persist}" if options.persist else "Jobs are deleted at exit; --persist DIR keeps them."
        say("naq", kept)
        if options.headless:
            say("naq", "Ctrl-C stops it.")
            return
        if dashboard:
            self._dashboard_port = options.dashboard_port or (_DASHBOARD_PORT if _is_free(_DASHBOARD_PORT) else _free_port())
            say("naq", f"Dashboard at http://127.0.0.1:{self._dashboard_port}")
        call = f"{self._modules[0]}:your_function" if self._modules else "math:sqrt 2"
        say("naq", f"In another terminal: naq enqueue {call} --wait")
        say("naq", "Ctrl-C stops everything.")

    def _keep(self, name: str) -> ProcessKeeper:
        """Make the keeper of one service."""
        options = self._options
        imports = () if name == "dashboard" else self._modules
        arguments = self._worker_arguments() if name == "worker" else ["-m", "naq_cli", name, *_import_options(imports)]
        if name == "dashboard":
            arguments += ["--host", "127.0.0.1", "--port", str(self._dashboard_port)]
        if name != "worker":
            arguments += self._log_options()
        grace = self._settings.shutdown_grace.total_seconds() if name == "worker" else 0
        keeper = ProcessKeeper(
            DevProcess(name, arguments, self._environment, self._log),
            self._log,
            patience=grace + _PATIENCE_SECONDS,
            waits_for_changes=bool(imports) and options.reload,
        )
        self._keepers.append(keeper)
        if name == "worker" or imports:
            self._reloaded.append(keeper)
        return keeper

    async def _run_later(self, keeper: ProcessKeeper, first: ProcessKeeper) -> None:
        """Leave the processor to the worker until it says something: the first job is what is waited for."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(first.child.has_spoken.wait(), _HEAD_START_SECONDS)
        await keeper.run()

    def _worker_arguments(self) -> list[str]:
        options = self._options
        arguments = ["-m", "naq_worker", *self._queues, *_import_options(self._modules)]
        if options.concurrency is not None:
            arguments += ["--concurrency", str(options.concurrency)]
        return arguments + self._log_options()

    def _log_options(self) -> list[str]:
        given = {"--log-level": self._options.log_level, "--log-format": self._options.log_format}
        return [each for name, value in given.items() if value is not None for each in (name, value)]

    async def _follow(self, worker: ProcessKeeper) -> None:
        """Print how jobs end, which the worker's log does not say, and look for new queues."""
        settings = Settings(nats_url=self._server.url, namespace=self._settings.namespace)
        async with Connection(settings, name="naq-dev") as connection, asyncio.TaskGroup() as group:
            group.create_task(self._show_jobs(connection))
            if not self._options.queue:
                group.create_task(self._serve_new_queues(connection, worker))

    async def _show_jobs(self, connection: Connection) -> None:
        async for event in events(connection):
            if event.kind in _SHOWN:
                self._log.line("jobs", await describe_event(connection, event))

    async def _serve_new_queues(self, connection: Connection, worker: ProcessKeeper) -> None:
        """Start the worker again for every queue it does not know: in development no job should wait for a worker."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                new = [queue.queue for queue in await list_queues(connection) if queue.queue not in self._queues]
            except BrokerError as error:  # the next look may succeed
                self._log.line("naq", f"cannot list the queues: {error}")
                continue
            if new:
                self._log.line("naq", f"New queue {', '.join(new)}: restarting the worker to serve it.")
                self._queues += new
                worker.child.arguments = self._worker_arguments()
                worker.reload()

    async def _watch_files(self) -> None:
        if not can_watch_files():
            self._log.line("naq", "Automatic reload needs watchfiles: pip install 'naq-cli[dev]'")
            return
        async for names in changed_files():
            again = " and ".join(keeper.child.name for keeper in self._reloaded)
            self._log.line("naq", f"{names} changed: restarting the {again}.")
            for keeper in self._reloaded:
                keeper.reload()

    async def _watch_server(self) -> None:
        while self._server.is_running:  # noqa: ASYNC110 - another process's end is no event of this one
            await asyncio.sleep(_LOOK_SECONDS)
        lines = self._server.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        raise RuntimeError(f"nats-server exited unexpectedly: {lines[-1] if lines else 'no log output'}")


def _import_options(modules: tuple[str, ...]) -> list[str]:
    return [each for module in modules for each in ("--imports", module)]


def _environment(url: str) -> dict[str, str]:
    """Return the environment of the children: this server, and no credentials of another."""
    foreign = {f"{prefix}{name}" for prefix in ("NAQ_NATS_", "NATS_") for name in _CREDENTIALS}
    return {**{name: value for name, value in os.environ.items() if name not in foreign}, "NAQ_NATS_URL": url}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
