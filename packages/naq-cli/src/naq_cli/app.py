"""The root command: mounts what is installed and says how to install the rest.

Nothing but cyclopts is imported until a command runs, so that `naq --help` stays quick and
a broken package cannot take the other commands down with it.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Group, Parameter

from naq_cli.exit_codes import ExitCode

ENTRY_POINT_GROUP = "naq.commands"

_SERVICES = {
    "worker": ("naq-worker", "Run a worker process."),
}
_OWN = {
    "server": ("naq_cli.commands.server:server", "Run a nats-server with JetStream in the foreground."),
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `naq` and exit with its code.

    Args:
        arguments: The command line without the program's name; None takes the process's own.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except ImportError as error:
        _complain(_import_problem(error))
        return ExitCode.IMPORT_FAILED


def build() -> App:
    """Put the command tree together from the entry points of the installed distributions.

    Returns:
        The root command. A known command whose distribution is missing is there too: it
        says what to install.
    """
    app = App(
        name="naq",
        help="The task queue on NATS JetStream.",
        version=_version_line,
        help_format="rich",
        suppress_keyboard_interrupt=False,
    )
    services = Group("Services", sort_key=1)
    for name, (target, text) in _OWN.items():
        app.command(target, name=name, group=services, help=text)
    found = _plugins()
    for name, plugin in found.items():
        app.command(plugin.value, name=name, group=services, help=_summary(plugin))
    for name, (distribution, text) in _SERVICES.items():
        if name not in found:
            app.command(
                _missing(name, distribution),
                name=name,
                group=services,
                help=f"{text} [dim](pip install {distribution})[/dim]",
                help_flags=(),
                version_flags=(),
            )
    return app


def _dispatch(arguments: Sequence[str]) -> int:
    try:
        result = build()(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        # Looking for what a mistyped name may have meant imports every command.
        _complain(_usage_problem(error))
        return ExitCode.USAGE
    return result if isinstance(result, int) else ExitCode.OK


def _plugins() -> dict[str, EntryPoint]:
    """Return the other distributions' commands; naq-cli's own cannot be replaced."""
    points = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    return {point.name: point for point in points if point.name not in _OWN}


def _summary(plugin: EntryPoint) -> str:
    known = _SERVICES.get(plugin.name)
    if known is not None:
        return known[1]
    metadata = plugin.dist.metadata if plugin.dist else None
    if metadata is not None and "Summary" in metadata:
        return metadata["Summary"]
    return f"From {plugin.value}."


def _missing(name: str, distribution: str) -> Callable[..., int]:
    def command(*tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int:
        del tokens
        _complain(
            f"naq {name}: {distribution} is not installed. Install it: pip install {distribution}  # or: uv add {distribution}"
        )
        return ExitCode.NOT_INSTALLED

    return command


def _version_line() -> str:
    try:
        return f"naq {version('naq-cli')}"
    except PackageNotFoundError:
        return "naq (not installed as a distribution)"


def _usage_problem(error: CycloptsError) -> str:
    chain = " ".join(("naq", *(error.command_chain or ())))
    return f"{chain}: {error} See: {chain} --help"


def _import_problem(error: ImportError) -> str:
    """Name the distribution whose command cannot be imported."""
    for name, plugin in _plugins().items():
        try:
            plugin.load()
        except Exception as cause:  # noqa: BLE001 - whatever another package's module raises
            origin = f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else plugin.value
            return f"naq: plugin '{name}' ({origin}) cannot be imported: {cause}. Reinstall or remove it."
    return f"naq: cannot import what the command needs: {error}"


def _complain(message: str) -> None:
    sys.stderr.write(f"{message}\n")
