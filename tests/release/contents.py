"""Looks into wheels and source distributions: nothing is missing, nothing was swept in, the metadata is complete."""

from __future__ import annotations

import email
import subprocess
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path, PurePosixPath

from tests.release.version import ReleaseError, repository, urls

VENDORED = "packages/naq-dashboard/src/naq_dashboard/static/vendor/VENDOR.toml"
WRITTEN_BY_THE_BUILD = {"METADATA", "WHEEL", "RECORD", "entry_points.txt"}


def check(root: Path, package: Path, version: str, wheel: Path, sdist: Path) -> None:
    """Check both distributions of a package.

    Raises:
        ReleaseError: With all that was found.
    """
    tracked = tracked_files(root, package)
    problems = [*in_wheel(root, package, version, wheel, tracked), *in_sdist(sdist, tracked)]
    if problems:
        raise ReleaseError("\n".join(problems))


def tracked_files(root: Path, package: Path) -> set[str]:
    """Return the files of a package that git knows, relative to the package."""
    command = ["git", "ls-files", "-z", "."]
    listed = subprocess.run(command, cwd=root / package, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name}


def in_wheel(root: Path, package: Path, version: str, wheel: Path, tracked: set[str]) -> list[str]:
    """Return what is wrong with a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (meta,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(meta))
    folder = str(PurePosixPath(meta).parent)
    sources = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
    licences = {f"{folder}/licenses/{name}" for name in metadata.get_all("License-File", [])}
    expected = sources | licences | {f"{folder}/{name}" for name in WRITTEN_BY_THE_BUILD}
    problems = [f"{wheel.name} lacks {name}" for name in sorted(expected - names) if not name.endswith("/entry_points.txt")]
    problems += [f"{wheel.name} has {name}, which git does not know" for name in sorted(names - expected)]
    return problems + in_metadata(root, package, version, wheel.name, metadata)


def in_metadata(root: Path, package: Path, version: str, name: str, metadata: Message) -> list[str]:
    """Return what is wrong with the metadata of a wheel."""
    problems = []
    if metadata["Version"] != version:
        problems.append(f"{name} says version {metadata['Version']}, not {version}")
    pins = [each for each in metadata.get_all("Requires-Dist", []) if each.startswith("naq-")]
    problems += [f"{name} needs {each}, not =={version}" for each in pins if f"=={version}" not in each.replace(" ", "")]
    named = dict(each.split(", ", 1) for each in metadata.get_all("Project-URL", []))
    if named != urls(repository(root)):
        problems.append(f"{name} names the addresses {named}, not {urls(repository(root))}")
    expected = licence_expression(root, package)
    if metadata["License-Expression"] != expected:
        problems.append(f"{name} has the licence {metadata['License-Expression']}, not {expected}")
    return problems


def in_sdist(sdist: Path, tracked: set[str]) -> list[str]:
    """Return what is wrong with a source distribution."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = tracked | {"PKG-INFO"}
    problems = [f"{sdist.name} lacks {name}" for name in sorted(expected - names)]
    return problems + [f"{sdist.name} has {name}, which git does not know" for name in sorted(names - expected - {".gitignore"})]


def licence_expression(root: Path, package: Path) -> str:
    """Return the licence of a package: ours, and those of what others wrote and it carries."""
    if root / package not in (root / VENDORED).parents:
        return "MIT"
    vendored = tomllib.loads((root / VENDORED).read_text(encoding="utf-8"))
    others = {each["license"] for each in (*vendored["file"], *vendored["drawings"])} - {"MIT"}
    return " AND ".join(["MIT", *sorted(others)])
