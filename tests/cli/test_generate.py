"""`naq generate`: what it makes passes the validators of those who read it, and fits what the processes do."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

from naq_cli.generate.deployment import LEAVING, UID
from naq_core.permissions import Role
from naq_core.server import EmbeddedServer, find_server_binary
from naq_worker.supervisor import KILL_MARGIN
from tests.cli.commands import naq, started
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.34"
KEDA = Path(__file__).parent / "keda_scaled_object.json"


def generate(*arguments: str, code: int = 0, **variables: str) -> str:
    done = naq("generate", *arguments, cwd=ROOT / "tests", **variables)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


def documents(*arguments: str, **variables: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the documents of YAML, by kind and name."""
    found = yaml.safe_load_all(generate(*arguments, **variables))
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


class TestFiles:
    def test_they_are_printed_or_written_and_replaced_only_by_order(self, tmp_path: Path) -> None:
        printed = generate("systemd", "--queue", "mail")
        assert re.findall(r"^# file: (.*)$", printed, re.MULTILINE) == [
            "naq-worker.service",
            "naq-scheduler.service",
            "naq-dashboard.service",
        ]
        written = generate("systemd", "--queue", "mail", "--to", str(tmp_path / "units"))
        assert written.split() == [
            str(tmp_path / "units" / f"naq-{each}.service") for each in ("worker", "scheduler", "dashboard")
        ]
        again = generate("systemd", "--queue", "mail", "--to", str(tmp_path / "units"))
        assert again == written
        refused = generate("systemd", "--queue", "bills", "--to", str(tmp_path / "units"), code=7)
        assert "naq-worker.service: there already, with another content. Use --force" in refused
        assert "mail" in (tmp_path / "units" / "naq-worker.service").read_text(encoding="utf-8")
        generate("systemd", "--queue", "bills", "--to", str(tmp_path / "units"), "--force")
        assert "bills" in (tmp_path / "units" / "naq-worker.service").read_text(encoding="utf-8")

    @pytest.mark.parametrize("kind", ["compose", "systemd", "kubernetes"])
    def test_settings_go_in_and_secrets_stay_out(self, kind: str) -> None:
        text = generate(
            kind,
            NAQ_NAMESPACE="shop",
            NAQ_SHUTDOWN_GRACE="100s",
            NAQ_NATS_PASSWORD="pa55word",
            NAQ_SIGNING_KEY="s1gning" * 6,
            NAQ_NATS_TOKEN="t0ken",
            NAQ_WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
        assert "NAQ_NAMESPACE" in text
        assert "shop" in text
        assert str(100 + LEAVING) in text
        assert not re.search("pa55word|s1gning|t0ken|whsec", text)

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["compose", "--queue", "a.b"], "a.b"),
            (["keda", "--queue", "cust-*"], "cust-*"),
            (["compose", "--nats-url", "nats://ada:secret@host"], "nats_url holds a password"),
            (["systemd", "--directory", "srv/naq"], "--directory 'srv/naq': systemd needs an absolute path"),
            (["kubernetes", "--replicas", "-1"], "--replicas -1: must be at least 0"),
            (["keda", "--min-workers", "5", "--max-workers", "3"], "--max-workers 3: must be at least 5"),
            (["nats-config", "--server", "n1", "--server", "n2"], "an odd number of servers"),
            (["permissions", "--user", "shop=king"], "write NAME=ROLE, with one of the roles producer, worker"),
            (["permissions", "--user", "a=worker", "--user", "a=viewer"], "there is a user 'a' already"),
        ],
    )
    def test_wrong_input_is_named(self, arguments: list[str], problem: str) -> None:
        said = generate(*arguments, code=2)
        assert problem in said
        assert "secret" not in said


def test_the_files_in_docker_are_those_that_are_generated() -> None:
    """After a change: `naq generate compose --clone --to docker --force`."""
    made = re.split(r"^# file: (.*)\n", generate("compose", "--clone"), flags=re.MULTILINE)[1:]
    files = dict(zip(made[::2], made[1::2], strict=True))
    assert files == {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docker").iterdir()}


class TestSystemd:
    def test_units_pass_the_verification(self, tmp_path: Path) -> None:
        if shutil.which("systemd-analyze") is None:
            pytest.skip("systemd-analyze is not installed")
        command = Path(sysconfig.get_path("scripts")) / "naq"
        arguments = ["--directory", str(tmp_path), "--command", str(command), "--imports", "shop.tasks", "--workers", "4"]
        generate("systemd", *arguments, "--to", str(tmp_path), NAQ_NATS_TLS_CA='/etc/a"b%c$d.pem')
        units = [str(path) for path in sorted(tmp_path.glob("*.service"))]
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_worker_has_the_time_that_it_takes(self) -> None:
        assert LEAVING > KILL_MARGIN
        assert "\nTimeoutStopSec=55\n" in generate("systemd")
        assert '\nEnvironment="NAQ_SHUTDOWN_GRACE=30s"\n' in generate("systemd")


class TestKubernetes:
    def test_everything_fits_the_schema(self) -> None:
        found = documents("kubernetes", "--queue", "mail=3", "--queue", "cust-*", "--imports", "shop.tasks")
        assert len(found) == 7
        for each in found.values():
            kubernetes_validate.validate(each, KUBERNETES, strict=True)

    def test_an_autoscaler_may_decide_how_many_workers_there_are(self) -> None:
        deployment = documents("kubernetes", "--autoscaled")["Deployment", "naq-worker"]
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)
        assert "replicas" not in deployment["spec"]

    def test_pods_meet_the_restricted_standard(self) -> None:
        found = documents("kubernetes")
        for process in ("worker", "scheduler", "dashboard"):
            spec = pod(found["Deployment", f"naq-{process}"])
            assert spec["securityContext"]["runAsNonRoot"]
            assert spec["securityContext"]["runAsUser"] == UID
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            (container,) = spec["containers"]
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }

    def test_a_pod_that_ends_has_longer_than_its_jobs(self) -> None:
        found = documents("kubernetes", NAQ_SHUTDOWN_GRACE="5m")
        spec = pod(found["Deployment", "naq-worker"])
        assert spec["terminationGracePeriodSeconds"] > 300 + KILL_MARGIN
        assert found["ConfigMap", "naq"]["data"]["NAQ_SHUTDOWN_GRACE"] == "300s"

    @pytest.mark.parametrize("process", ["worker", "scheduler", "dashboard"])
    async def test_a_container_starts_and_its_probes_are_answered(
        self, process: str, nats_server: EmbeddedServer, namespace: str
    ) -> None:
        free_port = unused_port()
        found = documents("kubernetes", "--queue", "default", NAQ_NAMESPACE=namespace)
        (container,) = pod(found["Deployment", f"naq-{process}"])["containers"]
        _, *words = container["command"]
        port = str(container["ports"][0]["containerPort"])
        words = [{port: str(free_port), "0.0.0.0": "127.0.0.1"}.get(word, word) for word in words]
        variables = {**found["ConfigMap", "naq"]["data"], "NAQ_NATS_URL": nats_server.url}
        with started("naq_cli", *words, **variables):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                path = container[probe]["httpGet"]["path"]
                await eventually(partial(answers, f"http://127.0.0.1:{free_port}{path}"))


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> None:
    try:
        status = httpx.get(url).status_code
    except httpx.TransportError as error:  # it does not listen yet
        raise AssertionError(url) from error
    assert status == 200


class TestKeda:
    def test_it_fits_the_schema_and_names_the_deployment(self) -> None:
        made = documents("keda", "--queue", "mail=3", "--queue", "bills", "--max-workers", "20")
        scaled = made["ScaledObject", "naq-worker"]
        jsonschema_rs.validate(json.loads(KEDA.read_text(encoding="utf-8")), scaled["spec"])
        assert scaled["apiVersion"] == "keda.sh/v1alpha1"
        assert scaled["spec"]["scaleTargetRef"] == {"name": "naq-worker"}
        assert ("Deployment", "naq-worker") in documents("kubernetes", "--autoscaled")
        assert len(scaled["spec"]["triggers"]) == 6

    def test_the_server_knows_what_it_asks_for(self, namespace: str) -> None:
        with EmbeddedServer(config='http: "127.0.0.1:-1"') as server:
            variables: dict[str, Any] = {"NAQ_NATS_URL": server.url, "NAQ_NAMESPACE": namespace}
            assert naq("setup", "mail", **variables).returncode == 0
            assert naq("enqueue", "math:sqrt", "2", "--queue", "mail", "--priority", "high", **variables).returncode == 0
            port = re.search(r"http monitor on [\d.]+:(\d+)", server.log_file.read_text(), re.IGNORECASE)
            assert port is not None
            made = documents("keda", "--queue", "mail", NAQ_NAMESPACE=namespace)["ScaledObject", "naq-worker"]
            waiting = {}
            for trigger in made["spec"]["triggers"]:
                asked = trigger["metadata"]
                url = f"http://127.0.0.1:{port[1]}/jsz?acc={asked['account']}&consumers=true&config=true"
                (account,) = httpx.get(url).json()["account_details"]
                (stream,) = [each for each in account["stream_detail"] if each["name"] == asked["stream"]]
                (consumer,) = [each for each in stream["consumer_detail"] if each["name"] == asked["consumer"]]
                waiting[asked["consumer"]] = consumer["num_pending"] + consumer["num_ack_pending"]
        assert waiting == {"naq-high-mail": 1, "naq-worker-mail": 0, "naq-low-mail": 0}


class TestDockerfiles:
    @pytest.mark.parametrize("arguments", [["--clone"], ["--install", "httpx==0.28.1"]])
    def test_the_linter_finds_nothing(self, arguments: list[str], tmp_path: Path) -> None:
        generate("compose", *arguments, "--to", str(tmp_path))
        linter = Path(sysconfig.get_path("scripts")) / "hadolint"
        command = [str(linter), "--no-color", str(tmp_path / "Dockerfile")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")
        assert re.findall(r"^USER (.*)$", (tmp_path / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE) == [str(UID)] * 3


class TestNatsServer:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nats-config"],
            ["nats-config", "--server", "n1", "--server", "n2.example.org", "--server", "n3"],
            ["nats-config", *(word for role in Role for word in ("--user", f"the-{role}={role}")), "--queue", "mail"],
            ["permissions", "--user", "shop=producer", "--user", "workers=worker", "--queue", "mail", "--queue", "bills"],
        ],
        ids=["one", "cluster", "users", "permissions"],
    )
    def test_it_accepts_each_configuration(self, arguments: list[str], tmp_path: Path) -> None:
        generate(*arguments, "--to", str(tmp_path))
        passwords = {f"THE_{role.upper()}_PASSWORD": "x" for role in Role} | {"SHOP_PASSWORD": "x", "WORKERS_PASSWORD": "y"}
        paths = sorted(tmp_path.iterdir())
        assert len(paths) == max(1, arguments.count("--server"))
        for path in paths:
            command = [str(find_server_binary()), "-t", "-c", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, env=passwords, check=False)
            assert done.returncode == 0, done.stderr
