"""Writes the version, the pins, the addresses and the section of the changelog: all that a release changes in the repository."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

from packaging.version import InvalidVersion, Version

CORE = Path("packages/naq-core/src/naq_core/_version.py")
UNRELEASED = "## [Unreleased]"
PIN = re.compile(r'(?<=")(naq-[a-z]+(?:\[[a-z,]+\])?==)[^"]+(?=")')
URLS = re.compile(r"^\[project\.urls\]\n(?:[^\[\n].*\n)*\n", re.MULTILINE)
ANCHOR = "[tool.hatch.version]\n"
"""Every pyproject.toml has this table; the addresses go before it."""


class ReleaseError(Exception):
    """What keeps the release from being made; the message says what to do."""


def current(root: Path) -> str:
    """Return the version that the tree has."""
    found = re.search(r'^__version__ = "(.+)"$', (root / CORE).read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ReleaseError(f'{CORE} has no line __version__ = "…"')
    return found[1]


def repository(root: Path) -> str:
    """Return the address of the repository, from the one place where it is written; empty until there is one."""
    tool = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return str(tool["release"]["repository"])


def urls(address: str) -> dict[str, str]:
    """Return the addresses that each distribution names, by their labels on the package index."""
    if not address:
        return {}
    return {
        "Source": address,
        "Documentation": f"{address}/tree/main/docs",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }


def prepare(root: Path, version: str, today: date, address: str = "") -> None:
    """Write a new version into the tree; nothing is written where something is wrong.

    Args:
        root: The repository.
        version: Of the release.
        today: The date in the changelog.
        address: Of the repository, to be kept; empty: as it is.

    Raises:
        ReleaseError: The version is not one, is not newer, has no changes, or no address is known.
    """
    check_version(root, version)
    address = address.rstrip("/") or repository(root)
    if not re.fullmatch(r"https://[^/\s\"]+/[^\s\"]+", address):
        raise ReleaseError(
            f"the address of the repository is {address!r}: give it once, as in --repository https://host/owner/name;"
            " it is kept in pyproject.toml, [tool.release]"
        )
    changed = {
        root / CORE: re.sub(r'(?<=__version__ = ").+(?=")', version, (root / CORE).read_text(encoding="utf-8")),
        root / "CHANGELOG.md": dated(root / "CHANGELOG.md", version, today),
        root / "pyproject.toml": re.sub(
            r'^(repository = ").*(?=")',
            rf"\g<1>{address}",
            (root / "pyproject.toml").read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        ),
    }
    for project in sorted(root.glob("packages/naq-*/pyproject.toml")):
        text = PIN.sub(rf"\g<1>{version}", project.read_text(encoding="utf-8"))
        table = "".join(f'{label} = "{url}"\n' for label, url in urls(address).items())
        changed[project] = URLS.sub("", text).replace(ANCHOR, f"[project.urls]\n{table}\n{ANCHOR}")
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")


def check_version(root: Path, version: str) -> None:
    """Check that a version can follow the tree's.

    Raises:
        ReleaseError: It cannot.
    """
    try:
        is_normal = str(Version(version)) == version
    except InvalidVersion:
        is_normal = False
    if not is_normal:
        raise ReleaseError(f"{version!r} is not a version: write it as 1.2.3, or 1.2.3rc1 for a candidate")
    is_released = has_section(root / "CHANGELOG.md", current(root))
    if Version(version) < Version(current(root)) or (version == current(root) and is_released):
        raise ReleaseError(f"{version} is not newer than {current(root)}")


def has_section(changelog: Path, version: str) -> bool:
    """Tell whether the changelog has a section of a version."""
    return f"\n## [{version}]" in changelog.read_text(encoding="utf-8")


def dated(changelog: Path, version: str, today: date) -> str:
    """Return the changelog with what is unreleased as the section of a version.

    Raises:
        ReleaseError: Nothing is unreleased.
    """
    text = changelog.read_text(encoding="utf-8")
    if not notes(changelog, "Unreleased"):
        raise ReleaseError(
            f"{changelog.name} has nothing under {UNRELEASED}: a release has changes that its users can read about"
        )
    return text.replace(UNRELEASED, f"{UNRELEASED}\n\n## [{version}] - {today.isoformat()}", 1)


def notes(changelog: Path, version: str) -> str:
    """Return the section of a version without its heading; empty where there is none."""
    text = changelog.read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""
