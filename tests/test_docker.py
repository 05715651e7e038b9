"""The files in docker/: no engine runs here, so what they say is checked, and the server's configuration is run.

`naq generate compose --clone` makes them (tests/cli/test_generate.py).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from naq_cli._catalog import COMMANDS
from naq_cli.generate.deployment import UID
from naq_core.server import EmbeddedServer, find_server_binary
from naq_core.settings import Settings
from tests.cli.commands import naq

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+)")


API_ALONE = """
import asyncio, sys

sys.modules.update(dict.fromkeys(sys.argv[1:]))  # an import of one of them fails

import httpx
from naq_dashboard import create_app

async def main():
    app = create_app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=30) as client:
        made = await client.post("/api/jobs", json={"function": "operator:mul", "args": [6, 7], "job_id": "one"})
        ended = await client.get("/api/jobs/one/result?wait=0.1")
        print(made.status_code, ended.status_code, ended.json()["state"])
    await app.state.naq_dashboard.aclose()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, its merges resolved."""
    found: dict[str, Any] = yaml.safe_load((DOCKER / "docker-compose.yml").read_text(encoding="utf-8"))
    return found


class TestCompose:
    def test_the_server_alone_starts_without_a_profile(self, compose: dict[str, Any]) -> None:
        services = compose["services"]
        assert {name for name, service in services.items() if "profiles" not in service} == {"nats"}
        assert set(services) == {"nats", "worker", "scheduler", "dashboard"}
        assert all(service["profiles"] == [name, "all"] for name, service in services.items() if name != "nats")

    def test_jobs_survive_and_the_server_is_asked_for_its_health(self, compose: dict[str, Any]) -> None:
        nats = compose["services"]["nats"]
        assert "nats-data:/data" in nats["volumes"]
        assert "nats-data" in compose["volumes"]
        assert "js-enabled-only=true" in nats["healthcheck"]["test"][-1]
        mounted = next(volume for volume in nats["volumes"] if volume.startswith("./"))
        assert (DOCKER / mounted.split(":")[0]).is_file()
        assert nats["command"][-1] == mounted.split(":")[1]

    def test_processes_wait_for_a_healthy_server(self, compose: dict[str, Any]) -> None:
        for name in ("worker", "scheduler", "dashboard"):
            service = compose["services"][name]
            assert service["depends_on"] == {"nats": {"condition": "service_healthy"}}
            assert service["environment"]["NAQ_NATS_URL"].endswith("nats://nats:4222}")

    def test_nothing_is_published_beyond_this_machine(self, compose: dict[str, Any]) -> None:
        ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
        assert ports
        assert all(port.startswith("127.0.0.1:") for port in ports)

    def test_a_worker_may_finish_its_jobs(self, compose: dict[str, Any]) -> None:
        grace = int(compose["services"]["worker"]["stop_grace_period"].removesuffix("s"))
        assert grace > Settings().shutdown_grace.total_seconds()

    def test_each_image_is_a_stage_that_runs_a_command_of_naq(self, compose: dict[str, Any]) -> None:
        for name in ("worker", "scheduler", "dashboard"):
            build = compose["services"][name]["build"]
            assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
            assert f"AS {build['target']}\n" in DOCKERFILE
            assert f'ENTRYPOINT ["naq", "{name}"]' in DOCKERFILE
            assert name in COMMANDS

    def test_every_variable_has_a_default(self) -> None:
        text = (DOCKER / "docker-compose.yml").read_text(encoding="utf-8")
        for match in VARIABLE.finditer(text):
            assert text[match.end() : match.end() + 2] == ":-", f"{match[1]} would be required even where it is not used"


class TestDockerfile:
    def test_it_builds_packages_that_exist(self) -> None:
        packages = set(re.findall(r"\./packages/([\w-]+)", DOCKERFILE))
        assert packages == {path.name for path in (ROOT / "packages").iterdir() if path.is_dir()}
        installed = {word for line in re.findall(r"--find-links /wheels (.*)", DOCKERFILE) for word in line.split()}
        assert installed <= packages | {"uvloop"}

    def test_processes_run_without_rights(self) -> None:
        stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
        for stage in stages:
            if "ENTRYPOINT" in stage:
                assert stage.index(f"USER {UID}\n") < stage.index("ENTRYPOINT")


class TestDashboard:
    def test_its_image_enqueues_and_returns_results_without_the_other_packages(
        self, nats_server: EmbeddedServer, namespace: str
    ) -> None:
        stage = DOCKERFILE.partition("AS dashboard\n")[2].partition("\nFROM ")[0]
        found = re.search(r"--find-links /wheels (.*)", stage)
        assert found is not None
        installed = {word.replace("-", "_") for word in found[1].split()} | {"naq_core"}
        missing = {path.name.replace("-", "_") for path in (ROOT / "packages").iterdir() if path.is_dir()} - installed
        assert missing == {"naq_client", "naq_worker", "naq_scheduler"}
        environment = {**os.environ, "NAQ_NATS_URL": nats_server.url, "NAQ_NAMESPACE": namespace}
        command = [sys.executable, "-c", API_ALONE, *missing]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
        assert done.stdout.split() == ["201", "202", "queued"], done.stderr


class TestServerConfiguration:
    def test_the_real_server_accepts_it(self) -> None:
        command = [str(find_server_binary()), "-c", str(DOCKER / "nats.conf"), "-t"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr

    def test_the_doctor_finds_each_write_synced(self, tmp_path: Path) -> None:
        block = re.search(r"^jetstream \{(.*?)^\}", (DOCKER / "nats.conf").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        assert block is not None
        # The later of two blocks counts: the embedded server's own is replaced by the container's, with another folder.
        ours = f'http: "127.0.0.1:-1"\njetstream {{{block[1].replace("/data", str(tmp_path))}}}'
        with EmbeddedServer(config=ours) as server:
            port = re.search(r"http monitor on [\d.]+:(\d+)", server.log_file.read_text(), re.IGNORECASE)
            assert port is not None, server.log_file.read_text()
            done = naq("doctor", "--json", "--monitor-url", f"http://127.0.0.1:{port[1]}", NAQ_NATS_URL=server.url)
        found = {finding["check"]: finding for finding in json.loads(done.stdout)}
        assert found["sync_interval"]["status"] == "ok", found
        assert (tmp_path / "jetstream").is_dir()
