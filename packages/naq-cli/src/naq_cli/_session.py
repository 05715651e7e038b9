"""Runs a command's action: settings, connection, output, and the errors of all three."""

import asyncio
import getpass
import inspect
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from naq_cli._errors import CommandError, is_debugging, report
from naq_cli._options import Common, Destroying, Reading
from naq_cli._output import Output
from naq_cli._parameters import with_parameters
from naq_cli.exit_codes import ExitCode
from naq_core.audit import Actor, Recording, recorded
from naq_core.commands import make_current_directory_importable
from naq_core.connection import Connection
from naq_core.errors import NaqError
from naq_core.platforms import handle_in_loop
from naq_core.settings import Settings
from naq_core.signals import stopping


@dataclass(frozen=True, slots=True)
class Session:
    """What an action works with."""

    connection: Connection
    output: Output

    @property
    def settings(self) -> Settings:
        """The settings the connection was made with."""
        return self.connection.settings

    @property
    def user(self) -> str:
        """Who sits at this terminal, as the audit trail has it."""
        return _who().name

    def acting(self, action: str, target: str, **details: object) -> AbstractAsyncContextManager[Recording]:
        """Note a change in the audit trail before it is made, and its outcome afterwards.

        Raises:
            ConfigurationError, BrokerError: It cannot be noted, so it must not be done.
        """
        return recorded(self.connection, _who(), action, target, details, refusals=(NaqError, CommandError))


def _who() -> Actor:
    """Return who sits at this terminal, as far as the system knows: containers have users without a name."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError):
        login = f"uid {os.getuid()}"
    return Actor(f"{login}@{socket.gethostname()}", "command line")


_CONNECTION_LOG = "naq_core.connection"

Action = Callable[[Session], Awaitable[int | None]]


def connected(command: str, kind: type[Common] = Common) -> Callable[[Callable[..., Awaitable[int | None]]], Callable[..., int]]:
    """Make a command of a coroutine function whose first parameter is a session.

    The parser sees its other parameters, and the options of `kind` beside them.

    Args:
        command: The command's words, as messages name it.
        kind: Which options the command has in common with others.
    """

    def decorate(action: Callable[..., Awaitable[int | None]]) -> Callable[..., int]:
        def run(*args: Any, options: Common | None = None, **kwargs: Any) -> int:
            return online(command, options or kind(), lambda session: action(session, *args, **kwargs))

        shared = inspect.Parameter("options", inspect.Parameter.KEYWORD_ONLY, default=kind(), annotation=kind)
        with_parameters(run, action, [*list(inspect.signature(action).parameters.values())[1:], shared])
        return run

    return decorate


def online(command: str, options: Common, action: Action, **overrides: object) -> int:
    """Connect, run the action and return the exit code; every error ends as one line on standard error."""

    async def on_connection(settings: Settings, output: Output) -> int | None:
        async with Connection(settings, name="naq-cli", patient=False) as connection:
            logging.getLogger(_CONNECTION_LOG).setLevel(logging.NOTSET)
            return await action(Session(connection, output))

    def work(settings: Settings, output: Output) -> int | None:
        return asyncio.run(_until_signalled(on_connection(settings, output)))

    return offline(command, options, work, **overrides)


async def _until_signalled(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Cancel the work at SIGTERM and SIGHUP, as asyncio does at SIGINT, so that it can clean up while its connection is open.

    Returns:
        What the work returns, or the exit code of the signal.
    """
    received: list[int] = []
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    handle_in_loop(set(stopping()) - {signal.SIGINT}, stop)
    try:
        return await work
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]


def offline(command: str, options: Common, work: Callable[[Settings, Output], int | None], **overrides: object) -> int:
    """Run what needs no server, or connects itself, in the same way as `online`."""
    settings: Settings | None = None
    output = make_output(options)
    configure_logging()
    try:
        settings = Settings.load(
            nats_url=options.nats_url, nats_context=options.context, namespace=options.namespace, **overrides
        )
        if settings.middleware:
            make_current_directory_importable()
        code = work(settings, output)
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, the user gets a line and a code
        return report(command, error, settings)
    return ExitCode.OK if code is None else code


def make_output(options: Common) -> Output:
    """Return the output that the options ask for."""
    form = "auto"
    if isinstance(options, Reading):
        form = "json" if options.json else "jsonl" if options.jsonl else "auto"
    agreed = isinstance(options, Destroying) and options.yes
    return Output(form=form, quiet=options.quiet, color=options.color, agreed=agreed)


def configure_logging() -> None:
    """Let warnings (an unknown NAQ_ variable, a lost connection) reach the user as plain lines."""
    level = logging.DEBUG if is_debugging() else logging.WARNING
    logging.basicConfig(level=level, format="naq: %(message)s" if level > logging.DEBUG else "%(name)s: %(message)s")
    if not is_debugging():
        # What it logs of a connection that cannot be made is raised too, and then said with the address's origin.
        logging.getLogger(_CONNECTION_LOG).setLevel(logging.CRITICAL)
