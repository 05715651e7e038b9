"""The function and the arguments of a call, as they are typed."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode
from naq_core.written_calls import WrittenCall, read_function, read_json_arguments


def function_of(text: str) -> str:
    """Return the name of a function.

    Raises:
        CommandError: It is not `module:function`.
    """
    try:
        return read_function(text)
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


def read_call(arguments: Sequence[str], json_args: str | None) -> WrittenCall:
    """Read the arguments of a call from words, or from one JSON document (`-` reads standard input).

    Raises:
        CommandError: They cannot be meant.
    """
    if json_args is None:
        return read_arguments(arguments)
    if arguments:
        raise CommandError(f"--json-args gives all arguments: remove {arguments[0]!r}", ExitCode.USAGE)
    # Bytes: JSON is UTF-8, whatever the locale.
    try:
        return read_json_arguments(sys.stdin.buffer.read() if json_args == "-" else json_args.encode())
    except ValueError as error:
        raise CommandError(f"--json-args {error}", ExitCode.USAGE) from error


def read_arguments(words: Sequence[str]) -> WrittenCall:
    """Read the arguments of a call from words: JSON where it is JSON, text where it is not, `name=value` as keywords.

    Raises:
        CommandError: A positional argument follows a keyword, or a keyword is given twice.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if equals and name.isidentifier():
            if name in kwargs:
                raise CommandError(f"duplicate keyword argument {name}", ExitCode.USAGE)
            kwargs[name] = _value(text)
        elif kwargs:
            raise CommandError(f"{word!r} follows a keyword argument: put positional arguments first", ExitCode.USAGE)
        else:
            args.append(_value(word))
    return args, kwargs


def _value(word: str) -> Any:
    try:
        return msgspec.json.decode(word)
    except msgspec.DecodeError:
        return word
