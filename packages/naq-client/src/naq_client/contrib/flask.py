"""Flask: an extension keeps one blocking queue for the application, and jobs run within its context."""

import os
from typing import Any, cast

try:
    import click
    from flask import Flask, current_app
    from flask.cli import ScriptInfo, with_appcontext
except ImportError as error:
    raise ImportError('Flask is not installed: pip install "naq-client[flask]"') from error

from naq_client.contrib._requests import RETRY_AFTER, explained, request_settings
from naq_client.contrib._workers import become_worker
from naq_client.sync import SyncQueue
from naq_core.contrib.flask import AppContext
from naq_core.errors import BrokerError, JobTimeoutError, NaqError

__all__ = ["Naq", "in_app"]

_EXTENSION = "naq"
_APP = "FLASK_APP"


class Naq:
    """The extension: `naq = Naq()`, `naq.init_app(app)`, and in views `naq.queue.enqueue(…)`.

    The configuration of the application may have any setting of NAQ, such as `NAQ_NATS_URL`; the rest comes from the environment.
    A request waits 2 s for a NATS server that is away (`NAQ_PUBLISH_BUDGET`), and is then answered with 503. Nothing connects
    before the first use, so the processes that a server forks have connections of their own.

    Args:
        app: The application, if there is one already.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give an application its queue, `flask workers`, and the answer 503 for when NATS is away.

        Raises:
            InvalidOptionError: The configuration has a name in `NAQ_` that is no setting. ConfigurationError: A value is wrong.
        """
        app.extensions[_EXTENSION] = SyncQueue(settings=request_settings(**app.config.get_namespace("NAQ_")))
        for kind in (BrokerError, JobTimeoutError):
            app.register_error_handler(kind, _unavailable)
        app.cli.add_command(_workers)

    @property
    def queue(self) -> SyncQueue:
        """The queue of the current application.

        Raises:
            NaqError: `init_app` was not called for it.
        """
        return _queue()


def _queue() -> SyncQueue:
    try:
        return cast("SyncQueue", current_app.extensions[_EXTENSION])
    except KeyError:
        raise NaqError(f"the application {current_app.name!r} has no queue: call Naq().init_app(app)") from None


def _unavailable(error: Exception) -> tuple[dict[str, str], int, dict[str, str]]:
    return {"detail": explained(error)}, 503, {"Retry-After": RETRY_AFTER}


def _load_app() -> Flask:
    return ScriptInfo(app_import_path=os.environ.get(_APP)).load_app()


in_app = AppContext(_load_app)
"""Middleware for jobs, `NAQ_MIDDLEWARE=naq_client.contrib.flask:in_app`: the context of the application named by `FLASK_APP`."""


@click.command("workers", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def _workers(arguments: tuple[str, ...]) -> None:
    """Run a worker whose jobs have the context of the application.

    ARGUMENTS are those of python -m naq_worker, such as the names of queues; `flask workers -- --help` lists them.
    """
    script: Any = click.get_current_context().find_object(ScriptInfo)
    more = {_APP: script.app_import_path} if script.app_import_path else None
    try:
        become_worker(_queue().settings, arguments, middleware="naq_client.contrib.flask:in_app", more=more)
    except NaqError as error:
        raise click.ClickException(str(error)) from error
