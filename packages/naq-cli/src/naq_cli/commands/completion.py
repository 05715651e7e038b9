"""`naq completion`: Tab completes commands and options."""

from typing import Annotated, Literal

from cyclopts import Parameter


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
    from naq_cli.actions.completion import complete

    return complete(shell, install=install)
