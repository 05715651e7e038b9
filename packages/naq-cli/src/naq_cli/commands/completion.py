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

    It holds the commands of the NAQ packages installed now: do it again after installing another.

    Args:
        shell: By default the one this is typed in.
        install: Write it where the shell looks for it, and load it from the shell's start file.
    """
    from naq_cli.actions.completion import complete

    return complete(shell, install=install)
