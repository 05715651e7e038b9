"""A bill of materials for each distribution: what comes along when it is installed, and the scripts that it carries."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from tests.release.contents import VENDORED
from tests.release.fresh import Environment, run


def write(root: Path, package: Path, version: str, made: Environment, output: Path) -> None:
    """Write the bill of an environment into which only this package was installed, in CycloneDX's JSON.

    Args:
        root: The repository.
        package: The package's folder.
        version: Of the release.
        made: The environment.
        output: The file.
    """
    project = str(root / package / "pyproject.toml")
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", project, "--mc-type", "library"]
    bill = json.loads(run([*command, "--output-reproducible", "--of", "JSON", str(made.python)]))
    bill["metadata"]["component"]["version"] = version
    # The package is what the bill is of; as a part it would be listed twice.
    bill["components"] = [each for each in bill["components"] if each["name"] != package.name]
    if root / package in (root / VENDORED).parents:
        bill["components"] += bundled(root)
    output.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")


def bundled(root: Path) -> list[dict[str, Any]]:
    """Return what the dashboard's wheel carries from the npm registry, as components."""
    vendored = tomllib.loads((root / VENDORED).read_text(encoding="utf-8"))
    found = {each["package"]: each for each in (*vendored["file"], *vendored["drawings"])}
    return [
        {
            "type": "library",
            "name": name,
            "version": each["version"],
            "bom-ref": f"pkg:npm/{name}@{each['version']}",
            "purl": f"pkg:npm/{name}@{each['version']}",
            "licenses": [{"license": {"id": each["license"]}}],
        }
        for name, each in sorted(found.items())
    ]
