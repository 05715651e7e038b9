"""What a release relies on: one version, exact pins, complete metadata."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from naq_core._version import __version__
from tests.release.contents import licence_expression
from tests.release.version import repository, urls

ROOT = Path(__file__).parents[2]
PACKAGES = sorted((ROOT / "packages").glob("naq-*"))
SIBLINGS = [path for path in PACKAGES if path.name != "naq-core"]


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def project(package: Path) -> dict[str, Any]:
    table: dict[str, Any] = toml(package / "pyproject.toml")["project"]
    return table


def import_name(package: Path) -> str:
    return package.name.replace("-", "_")


def requirements(package: Path) -> list[str]:
    table = project(package)
    extras = table.get("optional-dependencies", {}).values()
    return [*table["dependencies"], *(item for extra in extras for item in extra)]


def test_there_are_packages() -> None:
    assert {path.name for path in PACKAGES} >= {"naq-core", "naq-client", "naq-worker", "naq-cli"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
class TestEveryPackage:
    def test_takes_its_version_from_the_one_place(self, package: Path) -> None:
        assert project(package)["dynamic"] == ["version"]
        source = package / toml(package / "pyproject.toml")["tool"]["hatch"]["version"]["path"]
        assert source.resolve() == ROOT / "packages/naq-core/src/naq_core/_version.py"

    def test_pins_its_siblings_to_that_version(self, package: Path) -> None:
        pins = [item for item in requirements(package) if item.startswith("naq-")]
        assert all(re.fullmatch(rf"naq-[a-z]+=={re.escape(__version__)}", pin) for pin in pins), pins

    def test_needs_the_same_python(self, package: Path) -> None:
        assert project(package)["requires-python"] == ">=3.11"

    def test_is_named_like_its_folder_and_its_module(self, package: Path) -> None:
        assert project(package)["name"] == package.name
        assert (package / "src" / import_name(package) / "__init__.py").is_file()

    def test_is_typed(self, package: Path) -> None:
        assert (package / "src" / import_name(package) / "py.typed").is_file()

    def test_has_a_readme(self, package: Path) -> None:
        assert (package / "README.md").read_text(encoding="utf-8").startswith(f"# {package.name}\n")

    def test_says_its_version(self, package: Path) -> None:
        module = importlib.import_module(import_name(package))
        assert module.__version__ == __version__
        assert "__version__" in module.__all__

    def test_names_the_addresses_that_are_kept_in_one_place(self, package: Path) -> None:
        assert project(package).get("urls", {}) == urls(repository(ROOT))

    def test_names_the_licences_of_all_that_it_carries(self, package: Path) -> None:
        assert project(package)["license"] == licence_expression(ROOT, package.relative_to(ROOT))
        named = {path.relative_to(package) for pattern in project(package)["license-files"] for path in package.glob(pattern)}
        assert named == {path.relative_to(package) for path in package.rglob("LICENSE*/*.txt")} | {Path("LICENSE")}

    def test_carries_a_copy_of_the_license(self, package: Path) -> None:
        own = package / "LICENSE"
        assert not own.is_symlink(), "a link would dangle in the sdist"
        assert own.read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("package", SIBLINGS, ids=lambda path: path.name)
class TestEveryPackageButTheCore:
    def test_depends_on_the_core_and_no_other_sibling(self, package: Path) -> None:
        pins = [item for item in project(package)["dependencies"] if item.startswith("naq-")]
        assert pins == [f"naq-core=={__version__}"]

    def test_is_checked_alone(self, package: Path) -> None:
        matrix = toml(ROOT / "hatch.toml")["envs"]["solo"]["matrix"]
        assert package.name.removeprefix("naq-") in matrix[0]["package"]

    def test_is_under_the_import_rules(self, package: Path) -> None:
        linter = toml(ROOT / "pyproject.toml")["tool"]["importlinter"]
        name = import_name(package)
        assert name in linter["root_packages"]
        layers = next(item for item in linter["contracts"] if item["type"] == "layers")["layers"]
        assert name in layers[0].split(" | ")


def test_the_changelog_names_the_version_or_has_unreleased_changes() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in changelog or "## [Unreleased]" in changelog
