"""Finds the commands of other distributions without `importlib.metadata`, whose import alone takes 50 ms."""

import os
import sys
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ENTRY_POINT_GROUP = "naq.commands"
_SUFFIX = ".dist-info"


class Plugin(NamedTuple):
    """An entry point of the group `naq.commands`."""

    name: str
    target: str
    distribution: str
    version: str
    summary: str

    @property
    def origin(self) -> str:
        """The distribution, as messages name it."""
        return f"{self.distribution} {self.version}"

    def load(self) -> Any:
        """Import the command; whatever its module raises comes through."""
        module, _, names = self.target.partition(":")
        found: Any = import_module(module)
        for name in names.split("."):
            found = getattr(found, name)
        return found

    def attribute(self, name: str) -> Any:
        """Return an attribute of the command's module, or None."""
        return getattr(import_module(self.target.partition(":")[0]), name, None)


def find_plugins() -> dict[str, Plugin]:
    """Return the installed commands by name; of two with one name, the first on the path."""
    found: dict[str, Plugin] = {}
    for folder in dict.fromkeys(sys.path):
        for info in _dist_infos(folder):
            for plugin in _commands_of(info):
                found.setdefault(plugin.name, plugin)
    return dict(sorted(found.items()))


def own_version() -> str:
    """Return the version of the installed naq-cli, empty where it is not installed."""
    for folder in dict.fromkeys(sys.path):
        for info in _dist_infos(folder):
            name, _, version = info.name.removesuffix(_SUFFIX).partition("-")
            if name == "naq_cli":
                return version
    return ""


def _dist_infos(folder: str) -> list[Path]:
    try:
        with os.scandir(folder or ".") as entries:
            return [Path(entry.path) for entry in entries if entry.name.endswith(_SUFFIX)]
    except OSError:  # not a folder (an archive), or gone
        return []


def _commands_of(info: Path) -> list[Plugin]:
    try:
        text = (info / "entry_points.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    if ENTRY_POINT_GROUP not in text:
        return []
    points = ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    points.optionxform = str  # type: ignore[assignment, method-assign]  # names are case sensitive
    points.read_string(text)
    if not points.has_section(ENTRY_POINT_GROUP):
        return []
    name, _, version = info.name.removesuffix(_SUFFIX).partition("-")
    distribution = name.replace("_", "-")
    summary = _summary(info)
    return [
        Plugin(command, target.split("[")[0].strip(), distribution, version, summary)
        for command, target in points.items(ENTRY_POINT_GROUP)
    ]


def _summary(info: Path) -> str:
    try:
        for line in (info / "METADATA").read_text(encoding="utf-8").splitlines():
            if line.startswith("Summary:"):
                return line.removeprefix("Summary:").strip()
            if not line:
                break
    except (OSError, UnicodeDecodeError):
        pass
    return ""
