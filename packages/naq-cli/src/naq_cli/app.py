"""The root command: mounts what is installed and says how to install the rest.

`naq --help` and `naq --version` import neither the parser nor NATS. Of everything else only the command that was named is
imported, so that a broken package cannot take the other commands down with it.
"""

import contextlib
import inspect
import io
import signal
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

from naq_cli._catalog import ALIASES, COMMANDS, resolve_alias
from naq_cli._parameters import with_parameters
from naq_cli._plugins import Plugin, find_plugins, own_version
from naq_cli._root_help import print_root_help
from naq_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

_TAKES_PATHS = {"dev", "server"}
"""Commands whose words go on to the system, or to other processes, as they came."""
_USAGE_CODES = {"check": 3}
"""The exit codes of a wrong command line, of commands for which 2 means something else."""
_HELP, _VERSION = {"--help", "-h", "help"}, {"--version", "version"}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `naq` and exit with its code.

    Args:
        arguments: The command line without the program's name; None takes the process's own.
    """
    signal.signal(signal.SIGTERM, _terminate)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if _is_for_help(words) and None not in {sys.stdin, sys.stdout, sys.stderr}:
        sys.exit(_print_help(words))
    from naq_core.starting import run_process

    run_process(partial(run, words))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit code.
    """
    words = resolve_alias(list(arguments))
    if not words or words[0] in _HELP:
        if len(words) > 1:  # naq help job
            return run([*words[1:], "--help"])
        print_root_help(find_plugins())
        return ExitCode.OK
    if words[0] in _VERSION or (words[-1] == "--version" and "--" not in words):  # also behind a command: there is one version
        sys.stdout.write(f"naq {own_version() or '(not installed as a distribution)'}\n")
        return ExitCode.OK
    try:
        return _run_command(words)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _is_for_help(words: list[str]) -> bool:
    options = words[: words.index("--")] if "--" in words else words
    return not words or words[0] in _HELP | _VERSION or not {"--help", "-h", "--version"}.isdisjoint(options)


class _Text(io.StringIO):
    """Collects what is printed, and looks like the stream that it is for."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()


def _print_help(words: list[str]) -> int:
    """Print help in one write, so that naq_core, which is slow to import, is needed only where that fails."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with contextlib.redirect_stdout(_Text(sys.stdout)) as text:
            code = run(words)
        sys.stdout.write(text.getvalue())
        sys.stdout.flush()
    except OSError as error:
        from naq_core.standard_streams import unwritable

        return unwritable(error)
    return code


def build(only: str | None = None, plugins: dict[str, Plugin] | None = None) -> "App":
    """Put the command tree together, importing none of the commands.

    Args:
        only: Mount this command alone.
        plugins: The other distributions' commands; None looks for them.

    Returns:
        The root command. A known command whose distribution is missing is there too: it says what to install.
    """
    from cyclopts import App, Parameter

    shown = Parameter(show_default=_default_worth_showing, negative_iterable=())
    app = App(name="naq", help_format="markdown", suppress_keyboard_interrupt=False, default_parameter=shown)
    plugins = find_plugins() if plugins is None else plugins
    for name, command in COMMANDS.items():
        if only not in {None, name}:
            continue
        if command.target:
            app.command(command.target, name=name, help=None if only else command.help)
        elif name not in plugins:
            app.command(_missing(name, command.distribution), name=name, help=command.help, help_flags=(), version_flags=())
    for name, plugin in plugins.items():
        if only in {None, name} and not _is_own(name):
            text = COMMANDS[name].help if name in COMMANDS else plugin.summary
            app.command(plugin.target, name=name, help=text)
    return app


def command_tree(name: str, plugins: dict[str, Plugin] | None = None) -> "App":
    """Return the root command with one command, and import that.

    Args:
        name: Of the command.
        plugins: The other distributions' commands; None looks for them.

    Raises:
        PluginImportError: It is another distribution's and cannot be imported.
    """
    plugins = find_plugins() if plugins is None else plugins
    app = build(name, plugins)
    return _with_plugin(app, plugins[name]) if name in plugins and not _is_own(name) else app


def _run_command(words: list[str]) -> int:
    name = words[0]
    plugins = {} if _is_own(name) else find_plugins()
    if name not in COMMANDS and name not in plugins:
        return _complain(_unknown(name, plugins), ExitCode.USAGE)
    from cyclopts import CycloptsError

    try:
        app = command_tree(name, plugins)
        if _is_own(name) and name not in _TAKES_PATHS:
            words = [_readable(word, at) for at, word in enumerate(words)]
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(_usage_problem(error), _USAGE_CODES.get(name, ExitCode.USAGE))
    except PluginImportError as error:
        return _complain(str(error), ExitCode.IMPORT_FAILED)
    except UnreadableWordError as error:
        return _complain(str(error), ExitCode.USAGE)
    except KeyboardInterrupt:
        raise
    except Exception as error:  # noqa: BLE001 - the last boundary: a line and a code instead of a traceback
        from naq_cli._errors import report

        return report(name, error, None)
    return result if isinstance(result, int) else ExitCode.OK


class UnreadableWordError(Exception):
    """A word of the command line is not text."""

    def __init__(self, word: str, position: int) -> None:
        super().__init__(f"naq: argument {position} is not UTF-8: {word!r}")


def _readable(word: str, position: int) -> str:
    """Return a word as it was typed, also where the locale is C."""
    if word.isascii():
        return word
    from naq_core.values import from_system

    try:
        return from_system(word)
    except ValueError:
        raise UnreadableWordError(word, position) from None


class PluginImportError(Exception):
    """Another distribution's command cannot be imported."""

    def __init__(self, plugin: Plugin, cause: BaseException) -> None:
        super().__init__(
            f"naq: plugin '{plugin.name}' ({plugin.origin}) cannot be imported: {type(cause).__name__}: {cause}."
            f" Reinstall it, pip install --force-reinstall {plugin.distribution}, or remove it."
        )


def _with_plugin(app: "App", plugin: Plugin) -> "App":
    """Import a plugin's command and put it in the place of its name."""
    from cyclopts import App

    try:
        command = plugin.load()
        short = plugin.attribute("SHORT_OPTIONS") or {}
    except Exception as error:  # whatever another package's module raises
        raise PluginImportError(plugin, error) from error
    del app[plugin.name]
    if isinstance(command, App):
        app.command(command, name=plugin.name)
    else:
        app.command(adapt(command, short), name=plugin.name)
    return app


def adapt(command: Callable[..., Any], short: dict[str, str]) -> Callable[..., Any]:
    """Give a plain function of another distribution what only the parser's own annotations can say.

    Parameters get short spellings, such as `-c` for `concurrency`, from the `SHORT_OPTIONS` beside the function; flags that are
    off by default get no `--no-…`. So other distributions need not depend on the parser.
    """
    from cyclopts import Parameter

    signature = inspect.signature(command, eval_str=True)
    parameters = []
    for each in signature.parameters.values():
        wanted = Parameter(alias=short.get(each.name), negative="" if each.default is False else None)
        parameters.append(each.replace(annotation=Annotated[each.annotation, wanted]))

    def adapted(*args: Any, **kwargs: Any) -> Any:
        return command(*args, **kwargs)

    with_parameters(adapted, command, parameters)
    return adapted


def _default_worth_showing(value: object) -> str | None:
    """Return a default for the help; that a flag is off and a list empty goes without saying."""
    return None if isinstance(value, bool) or value in {None, "", ()} else str(value)


def _is_own(name: str) -> bool:
    """Tell whether the command is naq-cli's, which no other distribution can replace."""
    return name in COMMANDS and bool(COMMANDS[name].target)


def _missing(name: str, distribution: str) -> Callable[..., int]:
    from cyclopts import Parameter

    def command(*tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int:
        del tokens
        return _complain(
            f"naq {name}: {distribution} is not installed. Install it: pip install {distribution}  # or: uv add {distribution}",
            ExitCode.NOT_INSTALLED,
        )

    return command


def _unknown(name: str, plugins: dict[str, Plugin]) -> str:
    if name.startswith("-"):
        return f"naq: {name} is not an option of naq itself; options follow the command. See: naq --help"
    known = [*COMMANDS, *plugins, *(words[0] for words in ALIASES)]
    close = get_close_matches(name, known, n=1)
    meant = f" Did you mean {' '.join(resolve_alias(close))}?" if close else ""
    return f"naq: there is no command '{name}'.{meant} See: naq --help"


def _usage_problem(error: "CycloptsError") -> str:
    from cyclopts.exceptions import UnusedCliTokensError

    chain = " ".join(("naq", *(error.command_chain or ())))
    text = " ".join(str(error).split())
    if isinstance(error, UnusedCliTokensError):
        text = f"unexpected argument {' '.join(map(repr, error.unused_tokens or ()))}."
    return f"{chain}: {text} See: {chain} --help"


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """End with the code of SIGTERM; commands that run on install handlers of their own."""
    del number, frame
    raise SystemExit(ExitCode.TERMINATED)
