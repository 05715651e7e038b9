"""What `hatch run release:make` writes, and what it refuses. The builds and checks themselves run in the workflow `wheels`."""

from __future__ import annotations

import shutil
import tomllib
import zipfile
from datetime import date
from pathlib import Path

import pytest

from tests.release.contents import in_wheel, tracked_files
from tests.release.version import CORE, ReleaseError, current, notes, prepare, repository, urls

ROOT = Path(__file__).parents[2]
DAY = date(2027, 1, 31)
ADDRESS = "https://git.example.org/ada/naq"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files that a release changes."""
    for path in (ROOT / "pyproject.toml", ROOT / CORE, *ROOT.glob("packages/*/pyproject.toml")):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Wings.\n", encoding="utf-8")
    return tmp_path


def content(tree: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def test_a_release_changes_version_pins_addresses_and_changelog(tree: Path) -> None:
    prepare(tree, "9.1.0", DAY, ADDRESS)
    assert current(tree) == "9.1.0"
    assert repository(tree) == ADDRESS
    for path in tree.glob("packages/*/pyproject.toml"):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = [each for extra in project.get("optional-dependencies", {}).values() for each in extra]
        pins = {each for each in (*project["dependencies"], *extras) if each.startswith("naq-")}
        assert all(each.endswith("==9.1.0") for each in pins)
        assert project["urls"] == urls(ADDRESS)
    assert (
        (tree / "CHANGELOG.md")
        .read_text(encoding="utf-8")
        .startswith("# Changelog\n\n## [Unreleased]\n\n## [9.1.0] - 2027-01-31\n")
    )
    assert notes(tree / "CHANGELOG.md", "9.1.0") == "### Added\n\n- Wings."


def test_the_next_one_keeps_the_address_and_replaces_the_rest(tree: Path) -> None:
    prepare(tree, "9.1.0", DAY, f"{ADDRESS}/")
    first = content(tree)
    with (tree / "CHANGELOG.md").open("r+", encoding="utf-8") as changelog:
        text = changelog.read().replace("[Unreleased]\n", "[Unreleased]\n\n- Wheels.\n", 1)
        changelog.seek(0)
        changelog.write(text)
    prepare(tree, "9.2.0rc1", DAY)
    assert notes(tree / "CHANGELOG.md", "9.2.0rc1") == "- Wheels."
    assert notes(tree / "CHANGELOG.md", "9.1.0") == "### Added\n\n- Wings."
    for path, before in first.items():
        if path.name != "CHANGELOG.md":
            assert path.read_bytes() == before.replace(b"9.1.0", b"9.2.0rc1")


@pytest.mark.parametrize(
    ("version", "changelog", "address", "problem"),
    [
        ("0.0.9", None, ADDRESS, r"0\.0\.9 is not newer than"),
        ("v9.1.0", None, ADDRESS, "'v9.1.0' is not a version: write it as 1.2.3"),
        ("nine", None, ADDRESS, "'nine' is not a version"),
        ("9.1.0", "## [Unreleased]\n\n## [9.0.0]\n\n- Old.\n", ADDRESS, "nothing under ## .Unreleased"),
        ("9.1.0", None, "", "give it once, as in --repository https://host/owner/name"),
        ("9.1.0", None, "http://git.example.org/naq", "the address of the repository is 'http:"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    version: str, changelog: str | None, address: str, problem: str, tree: Path
) -> None:
    if changelog is not None:
        (tree / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    (tree / "pyproject.toml").write_text('[tool.release]\nrepository = ""\n', encoding="utf-8")
    before = content(tree)
    with pytest.raises(ReleaseError, match=problem):
        prepare(tree, version, DAY, address)
    assert content(tree) == before


def test_a_version_is_released_once(tree: Path) -> None:
    prepare(tree, current(tree), DAY, ADDRESS)  # the first release has the version that the tree began with
    with pytest.raises(ReleaseError, match="is not newer"):
        prepare(tree, current(tree), DAY)


def test_a_wheel_with_too_much_or_too_little_is_refused(tmp_path: Path) -> None:
    package = Path("packages/naq-scheduler")
    tracked = tracked_files(ROOT, package)
    sources = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
    wheel = tmp_path / "naq_scheduler-7.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in {*sources, "naq_scheduler/secrets.env"} - {"naq_scheduler/py.typed"}:
            archive.writestr(name, "")
        archive.writestr(
            "naq_scheduler-7.0.dist-info/METADATA",
            "Version: 7.0\nLicense-Expression: GPL-2.0\nLicense-File: LICENSE\nRequires-Dist: naq-core==6.0\n"
            "Project-URL: Home, https://elsewhere.example.org\n",
        )
    problems = "\n".join(in_wheel(ROOT, package, "7.0", wheel, tracked))
    for problem in (
        "lacks naq_scheduler/py.typed",
        "lacks naq_scheduler-7.0.dist-info/licenses/LICENSE",
        "has naq_scheduler/secrets.env, which git does not know",
        "needs naq-core==6.0, not ==7.0",
        "names the addresses {'Home': 'https://elsewhere.example.org'}",
        "has the licence GPL-2.0, not MIT",
    ):
        assert problem in problems
