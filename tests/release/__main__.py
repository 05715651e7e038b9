"""Makes a release: `hatch run release:make 0.2.0`. See docs/releasing.md."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.release import contents, fresh, sbom
from tests.release.version import ReleaseError, check_version, current, has_section, notes, prepare

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="hatch run release:make", description=__doc__)
    parser.add_argument("version", nargs="?", help="write this version first; without it, the tree's is built and checked")
    parser.add_argument("--repository", default="", help="the address of the repository; needed once, then it is kept")
    parser.add_argument("--tag", help="fail unless this is the tag of the tree's version, which has its section in the changelog")
    parser.add_argument("--skip-examples", action="store_true", help="do not run the examples against the wheels")
    parser.add_argument("--notes", action="store_true", help="only print the section of the tree's version in the changelog")
    options = parser.parse_args()
    try:
        if options.notes:
            print(notes(ROOT / "CHANGELOG.md", current(ROOT)))
            return 0
        if options.version is not None:
            check_version(ROOT, options.version)
            prepare(ROOT, options.version, datetime.now(UTC).date(), options.repository)
            step(f"wrote version {options.version}: look at it with git diff")
        if options.tag is not None:
            check_tag(options.tag)
        make(with_examples=not options.skip_examples)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def check_tag(tag: str) -> None:
    """Check that a tag belongs to the tree's version.

    Raises:
        ReleaseError: It does not, or the changelog has no section for it.
    """
    if tag != f"v{current(ROOT)}":
        raise ReleaseError(f"the tag is {tag}, but the tree has version {current(ROOT)}: tag the commit that bumps the version")
    if not has_section(ROOT / "CHANGELOG.md", current(ROOT)):
        raise ReleaseError(f"CHANGELOG.md has no section [{current(ROOT)}]: hatch run release:make {current(ROOT)} writes it")


def make(*, with_examples: bool) -> None:
    """Build the six distributions into `dist`, and check them."""
    version = current(ROOT)
    packages = [path.relative_to(ROOT) for path in sorted(ROOT.glob("packages/naq-*"))]
    wheels, sdists = build(packages, version)
    step(f"built {len(wheels)} wheels and {len(sdists)} source distributions of {version}")
    fresh.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, (*wheels.values(), *sdists.values()))])
    for package in packages:
        contents.check(ROOT, package, version, wheels[package.name], sdists[package.name])
    step("checked their contents and metadata")
    (DIST / "sbom").mkdir()
    with tempfile.TemporaryDirectory(prefix="naq-release-") as temporary:
        for package in packages:
            needed = {"naq-core": wheels["naq-core"], package.name: wheels[package.name]}
            module = package.name.replace("-", "_")
            made = fresh.alone(ROOT, Path(temporary, package.name), module, version, list(needed.values()))
            sbom.write(ROOT, package, version, made, DIST / "sbom" / f"{package.name}-{version}.cdx.json")
            step(f"installed {package.name} alone, and wrote its bill of materials")
        if with_examples:
            fresh.examples(ROOT, Path(temporary, "examples"), list(wheels.values()))
            step("ran the examples against the wheels")
    print(f"dist/packages and dist/sbom are ready. Next: git commit, git tag v{version}, git push --tags (docs/releasing.md)")


def build(packages: list[Path], version: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """Build each source distribution, and the wheel from it: what is missing there is missed here."""
    shutil.rmtree(DIST, ignore_errors=True)
    commit = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    os.environ["SOURCE_DATE_EPOCH"] = commit.stdout.strip()  # the same commit makes the same files
    output = DIST / "packages"
    for package in packages:
        fresh.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(ROOT / package)])
    stems = {package.name: f"{package.name.replace('-', '_')}-{version}" for package in packages}
    wheels = {name: output / f"{stem}-py3-none-any.whl" for name, stem in stems.items()}
    sdists = {name: output / f"{stem}.tar.gz" for name, stem in stems.items()}
    missing = [path.name for path in (*wheels.values(), *sdists.values()) if not path.exists()]
    if missing:
        raise ReleaseError(f"the build made no {', '.join(missing)}")
    return wheels, sdists


def step(text: str) -> None:
    """Print what is done."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
