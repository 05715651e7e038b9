"""`naq completion`: Tab completes commands and options."""

import sys
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.completion.detect import ShellDetectionError

from naq_cli._plugins import find_plugins
from naq_cli.app import build
from naq_cli.exit_codes import ExitCode


def completion(
    shell: Literal["bash", "zsh", "fish", "powershell"] | None = None,
    /,
    *,
    install: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print the completion script of a shell, or install it.

    It covers the NAQ packages installed now. Run it again after installing another.

    Args:
        shell: The shell; detected by default.
        install: Install it where the shell looks for completions, and load it from the shell's start-up file.
    """
    usable = {}
    for name, plugin in find_plugins().items():
        try:
            plugin.load()
        except Exception as error:  # noqa: BLE001 - whatever another package's module raises
            sys.stderr.write(f"naq completion: skipped plugin '{name}' ({plugin.origin}): {error}\n")
        else:
            usable[name] = plugin
    app = build(plugins=usable)
    try:
        if install:
            sys.stdout.write(f"{app.install_completion(shell=shell)}\n")
            sys.stderr.write("Open a new shell to use it.\n")
        else:
            sys.stdout.write(app.generate_completion(shell=shell))
    except ShellDetectionError:
        sys.stderr.write("naq completion: cannot detect the shell. Name it: naq completion bash\n")
        return ExitCode.USAGE
    return ExitCode.OK
