"""Passwords, tokens and keys that are read from files, such as mounted secrets."""

from pathlib import Path

from naq_core.errors import ConfigurationError
from naq_core.values import utf8


def read_secret(name: str, path: str, source: str) -> str:
    """Return the text of a secret's file, without surrounding white space and a byte order mark.

    Args:
        name: The setting that the secret is for.
        path: The file.
        source: The variable that names the file, for errors.

    Raises:
        ConfigurationError: The file cannot be read, is not UTF-8, or is blank. A blank one is usually a mount that failed; to
            take it as "no secret" would switch off a password or signatures without a word.
    """
    try:
        text = utf8(Path(path).read_bytes()).strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(name, f"cannot be read from {path}: {error}", source) from error
    if not text:
        raise ConfigurationError(name, f"{path} is empty; unset {source} to do without it", source)
    return text
