"""Litestar: a plugin gives handlers the queue, mounts the dashboard where it is installed, and adds `litestar workers`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from typing import Any, TypeAlias, cast

try:
    from litestar import Litestar, Request, Response
    from litestar.config.app import AppConfig
    from litestar.datastructures import State
    from litestar.di import NamedDependency, Provide
    from litestar.plugins import CLIPlugin, InitPlugin
except ImportError as error:
    raise ImportError('Litestar is not installed: pip install "naq-client[litestar]"') from error

from naq_client.contrib._requests import RETRY_AFTER, explained, request_settings
from naq_client.contrib._workers import become_worker
from naq_client.queue import Queue
from naq_client.sync import SyncQueue
from naq_core.errors import BrokerError, InvalidOptionError, JobTimeoutError, NaqError

__all__ = ["NaqPlugin", "QueueDep", "SyncQueueDep"]

QueueDep: TypeAlias = NamedDependency[Queue]
"""The type of a parameter that gets the application's queue; its name is that of `NaqPlugin(name=…)`, `queue`."""
SyncQueueDep: TypeAlias = NamedDependency[SyncQueue]
"""As `QueueDep`, for handlers without `async`; named `sync_queue`."""

_QUEUE, _SYNC_QUEUE = "naq_queue", "naq_sync_queue"


class NaqPlugin(InitPlugin, CLIPlugin):
    """Opens one queue for the whole application, and gives it to handlers.

    Args:
        queue: The queue; by default one with the settings of the environment, in which a request waits 2 s for a NATS server that
            is away (`publish_budget`).
        name: Of the parameter that gets the queue; `sync_<name>` gets the blocking one.
        dashboard: Whether the dashboard is mounted at `/naq` if naq-dashboard is installed. A `NaqDashboardPlugin` of your own,
            with other arguments, takes its place.
        connect: Whether to connect at once, so that the application does not start without NATS. Otherwise the first use does.
    """

    def __init__(self, queue: Queue | None = None, *, name: str = "queue", dashboard: bool = True, connect: bool = True) -> None:
        self._queue = queue
        self._name = name
        self._dashboard = dashboard
        self._connect = connect

    @property
    def queue(self) -> Queue:
        """The application's queue."""
        if self._queue is None:
            self._queue = Queue(settings=request_settings())
        return self._queue

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the queue, the answer 503 for when NATS is away, and the dashboard.

        Raises:
            InvalidOptionError: The application has a dependency of this name.
        """
        for name, give in ((self._name, _get_queue), (f"sync_{self._name}", _get_sync_queue)):
            if name in app_config.dependencies:
                raise InvalidOptionError("name", f"the application has a dependency {name!r}: give NaqPlugin another name")
            app_config.dependencies[name] = Provide(give)
        app_config.signature_namespace |= {"Queue": Queue, "SyncQueue": SyncQueue}
        app_config.lifespan.append(self._lifespan)
        for kind in (BrokerError, JobTimeoutError):
            app_config.exception_handlers.setdefault(kind, _unavailable)
        return self._with_dashboard(app_config) if self._dashboard else app_config

    def _with_dashboard(self, app_config: AppConfig) -> AppConfig:
        for point in entry_points(group="naq.litestar"):
            plugin = point.load()
            if not any(isinstance(each, plugin) for each in app_config.plugins):
                app_config = plugin(settings=self.queue.settings).on_app_init(app_config)
        return app_config

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncIterator[None]:
        queue = self.queue
        blocking = SyncQueue(queue.name if queue.is_named else None, settings=queue.settings)
        app.state[_QUEUE], app.state[_SYNC_QUEUE] = queue, blocking
        try:
            if self._connect:
                await queue.connection()
            yield
        finally:
            await queue.close()
            await asyncio.to_thread(blocking.close)

    def on_cli_init(self, cli: Any) -> None:
        """Add `litestar workers`."""
        import click  # noqa: PLC0415 - only the command line has it

        @cli.command("workers", context_settings={"ignore_unknown_options": True})  # type: ignore[untyped-decorator]  # Any
        @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
        def workers(env: Any, arguments: tuple[str, ...]) -> None:
            """Run a worker with the settings of the application, which it imports first.

            ARGUMENTS are those of python -m naq_worker, such as the names of queues; `litestar workers -- --help` lists them.
            """
            try:
                become_worker(self.queue.settings, arguments, imports=[env.app_path.partition(":")[0]])
            except NaqError as error:
                raise click.ClickException(str(error)) from error


async def _get_queue(state: State) -> Queue:
    return cast("Queue", state[_QUEUE])


async def _get_sync_queue(state: State) -> SyncQueue:
    return cast("SyncQueue", state[_SYNC_QUEUE])


def _unavailable(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    return Response({"detail": explained(error)}, status_code=503, headers={"Retry-After": RETRY_AFTER})
