"""Reads a context of the `nats` command (ADR-21): a named server address with its credentials."""

import json
import os
import re
from pathlib import Path
from typing import Any

from naq_core.errors import ConfigurationError
from naq_core.values import utf8

_FIELDS = {
    "url": "nats_url",
    "user": "nats_user",
    "password": "nats_password",
    "token": "nats_token",
    "creds": "nats_creds",
    "nkey": "nats_nkey",
    "ca": "nats_tls_ca",
    "cert": "nats_tls_cert",
    "key": "nats_tls_key",
    "inbox_prefix": "nats_inbox_prefix",
    "jetstream_domain": "jetstream_domain",
}
_PATHS = frozenset({"creds", "nkey", "ca", "cert", "key"})
_UNSUPPORTED = ("user_jwt", "user_seed", "nsc", "socks_proxy", "tls_first", "jetstream_api_prefix")
_URI = re.compile(r"[a-z]+://")


def read_context(name: str, source: str) -> tuple[Path, dict[str, str]]:
    """Return the file of a context and the settings in it.

    Args:
        name: The context's name.
        source: Where the name was given, for messages.

    Raises:
        ConfigurationError: There is no such context, or it needs what NAQ cannot do; its values are not shown.
    """
    if not re.fullmatch(r"[^/\\\s.][^/\\\s]*", name):
        raise ConfigurationError("nats_context", f"{name!r} cannot be the name of a context", source)
    try:
        path = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "nats" / "context" / f"{name}.json"
    except RuntimeError as error:  # a container's user may have neither HOME nor a line in /etc/passwd
        problem = f"{name!r} cannot be found: this user has no home directory. Set HOME or XDG_CONFIG_HOME"
        raise ConfigurationError("nats_context", problem, source) from error
    context: Any = None
    problem = ""
    try:
        context = json.loads(utf8(path.read_bytes()))
    except FileNotFoundError as error:
        raise ConfigurationError("nats_context", f"no context {name!r}: {path} does not exist", source) from error
    except (OSError, ValueError) as error:
        problem = str(error)
    if problem:  # raised here, for an error of the parser holds the whole document, with its password
        raise ConfigurationError("nats_context", f"{path} cannot be read: {problem}", source)
    if not isinstance(context, dict):
        raise ConfigurationError("nats_context", f"{path} does not contain a context", source)
    for field in _UNSUPPORTED:
        if context.get(field):
            raise ConfigurationError("nats_context", f"{path} sets {field}, which NAQ does not support", source)
    return path, {
        _FIELDS[field]: _value(path, field, text, source) for field, text in context.items() if text and field in _FIELDS
    }


def _value(path: Path, field: str, text: object, source: str) -> str:
    if not isinstance(text, str):
        raise ConfigurationError("nats_context", f"{field} in {path} is not text", source)
    if field == "url":
        return text
    text = text.removeprefix("file://") if field in _PATHS else text
    if _URI.match(text):
        scheme = text.partition(":")[0]
        raise ConfigurationError("nats_context", f"{field} in {path} is a {scheme}:// reference, which NAQ does not read", source)
    return os.path.expanduser(text) if field in _PATHS else text  # noqa: PTH111 - a Path would change the text
