"""Passwords, tokens and keys that are read from files, such as mounted secrets."""

from pathlib import Path

from naq_core.errors import ConfigurationError


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
        text = Path(path).read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:  # its message shows bytes of the secret
        raise ConfigurationError(name, f"cannot be read from {path}: the file is not UTF-8 text", source) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(name, f"cannot be read from {path}: {error}", source) from error
    if not text:
        raise ConfigurationError(name, f"{path} is empty; unset {source} to go without it", source)
    return text
