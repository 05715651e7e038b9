"""Shell completion."""

import sys
from typing import Literal

from cyclopts.completion.detect import ShellDetectionError

from naq_cli._plugins import find_plugins
from naq_cli.app import build
from naq_cli.exit_codes import ExitCode


def complete(shell: Literal["bash", "zsh", "fish", "powershell"] | None, *, install: bool) -> int:
    """Generate the script; every command is imported for it, and those that cannot be are left out and named."""
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
