"""What surrounds the code: workflows, hooks and templates name what exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
HATCH = tomllib.loads((ROOT / "hatch.toml").read_text(encoding="utf-8"))
COMMAND = re.compile(r"hatch run (?:(\w+):)?(\w+)((?: [\w./-]+)*)")


def scripts(environment: str) -> set[str]:
    environments = HATCH["envs"]
    inherited: dict[str, object] = environments["default"]["scripts"]
    return {*environments[environment or "default"].get("scripts", inherited)}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
class TestEveryWorkflow:
    def test_runs_what_exists(self, path: Path) -> None:
        found = COMMAND.findall(path.read_text(encoding="utf-8"))
        assert found
        for environment, script, arguments in found:
            assert script in scripts(environment), script
            assert [each for each in arguments.split() if "/" in each and not (ROOT / each).exists()] == []

    def test_keeps_no_credentials_in_the_checkout(self, path: Path) -> None:
        steps = [step for job in load(path)["jobs"].values() for step in job["steps"]]
        checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
        assert checkouts
        assert [step for step in checkouts if step["with"]["persist-credentials"] is not False] == []

    def test_pins_actions_by_their_commit(self, path: Path) -> None:
        used = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
        assert used
        assert [each for each in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []

    def test_reads_only_and_ends(self, path: Path) -> None:
        workflow = load(path)
        assert workflow["permissions"] == {"contents": "read"}
        assert [name for name, job in workflow["jobs"].items() if "timeout-minutes" not in job] == []


def test_every_change_passes_what_ci_runs_and_every_python_is_tested() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    commands = {step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}
    local = re.findall(r"^(?:\w+=\w+ )?(hatch run [\w:]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(local) - commands == set()
    project = tomllib.loads((ROOT / "packages/naq-core/pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {each.rpartition(" ")[2] for each in project["classifiers"] if re.search(r":: 3\.\d+$", each)}
    assert named <= set(jobs["test"]["strategy"]["matrix"]["python-version"])


def test_hooks_run_the_linters_of_hatch() -> None:
    (repository,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    tools = {hook["entry"].split()[4] for hook in repository["hooks"]}
    assert repository["repo"] == "local"
    assert tools == {"ruff", "mypy", "lint-imports"}


def test_templates_are_forms() -> None:
    forms = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert forms
    for form in map(load, forms):
        assert {"name", "description", "body"} <= form.keys()
        assert all(each["type"] == "markdown" or each["attributes"]["label"] for each in form["body"])
