"""The function and the arguments of a call, as they are typed."""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode

Call = tuple[list[Any], dict[str, Any]]


def check_function(function: str) -> None:
    """Refuse what cannot name a function.

    Raises:
        CommandError: It is not `module:function`.
    """
    module, colon, name = function.partition(":")
    parts = (*module.split("."), *name.split("."))
    if not colon or not all(part.isidentifier() for part in parts):
        guess = ":".join(function.rsplit(".", 1)) if "." in function and not colon else "shop.mail:send"
        raise CommandError(f"{function!r} does not name a function: write module:function, such as {guess}", ExitCode.USAGE)


def read_call(arguments: Sequence[str], json_args: str | None) -> Call:
    """Read the arguments of a call from words, or from one JSON document (`-` reads standard input).

    Raises:
        CommandError: They cannot be meant.
    """
    if json_args is None:
        return read_arguments(arguments)
    if arguments:
        raise CommandError(f"--json-args gives all arguments: remove {arguments[0]!r}", ExitCode.USAGE)
    # Bytes: JSON is UTF-8, whatever the locale.
    return read_json_arguments(sys.stdin.buffer.read() if json_args == "-" else json_args.encode())


def read_arguments(words: Sequence[str]) -> Call:
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


def read_json_arguments(text: bytes) -> Call:
    """Read the arguments of a call from one JSON document.

    Raises:
        CommandError: It is not JSON, or neither a list nor an object.
    """
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise CommandError(f"--json-args is not JSON: {error}", ExitCode.USAGE) from error
    match document:
        case [list() as args, dict() as kwargs]:
            return args, kwargs
        case list():
            return document, {}
        case dict():
            return [], document
        case _:
            raise CommandError(
                f"--json-args is {type(document).__name__}: give a list, an object, or [list, object]", ExitCode.USAGE
            )


def _value(word: str) -> Any:
    try:
        return msgspec.json.decode(word)
    except msgspec.DecodeError:
        return word
