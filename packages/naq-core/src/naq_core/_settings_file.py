"""Finds and reads `naq.toml` or `[tool.naq]` of `pyproject.toml`."""

import tomllib
from pathlib import Path
from typing import Any

from naq_core.errors import ConfigurationError
from naq_core.values import utf8


def read_settings_file(start: Path) -> tuple[Path | None, dict[str, Any]]:
    """Read the nearest settings file, looking upwards.

    In one folder `naq.toml` wins; a `pyproject.toml` without `[tool.naq]` is passed over.

    Args:
        start: The folder to begin with.

    Returns:
        The file's path and its settings; None and an empty mapping without a file.

    Raises:
        ConfigurationError: The file cannot be read or is not valid TOML.
    """
    for folder in (start, *start.parents):
        own = folder / "naq.toml"
        if own.is_file():
            return own, _normal(_parse(own))
        project = folder / "pyproject.toml"
        if project.is_file():
            table = _parse(project).get("tool", {}).get("naq")
            if isinstance(table, dict):
                return project, _normal(table)
    return None, {}


def read_settings_in(path: Path) -> dict[str, Any]:
    """Read the settings of one file, as `read_settings_file` does.

    Raises:
        ConfigurationError: The file cannot be read or is not valid TOML.
    """
    table = _parse(path)
    return _normal(table if path.name == "naq.toml" else table.get("tool", {}).get("naq", {}))


def _normal(table: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in table.items()}


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(utf8(path.read_bytes()).replace("\r\n", "\n"))
    except (OSError, ValueError) as error:
        problem = str(error)
    # Raised here, for an error of the parser may hold the whole document, with its passwords.
    raise ConfigurationError(path.name, f"cannot be read: {problem}", str(path))
