"""`naq generate compose`: one machine with Docker."""

from naq_cli.generate.deployment import (
    DASHBOARD_PORT,
    DASHBOARD_STOP,
    SCHEDULER_PORT,
    SCHEDULER_STOP,
    UID,
    WORKER_PORT,
    Deployment,
    quoted,
)
from naq_cli.generate.files import GeneratedFile, fill, indented
from naq_cli.generate.nats import NatsServer, server_files
from naq_core._version import __version__

ANSWER = "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}{path}', timeout=2)"


def compose_files(deployment: Deployment, *, clone: bool, pinned: tuple[str, ...] = ()) -> list[GeneratedFile]:
    """Return the files of a project for `docker compose`.

    Args:
        deployment: What to run.
        clone: Build the images from a clone of NAQ's repository, in whose folder `docker` the files are; else from releases.
        pinned: Further packages to install into the images.
    """
    defaults = {"NAQ_NAMESPACE": "naq", "NAQ_JOB_SERIALIZER": "pickle", "NAQ_LOG_LEVEL": "INFO"}
    settings = [
        f"{name}: {quoted(f'${{{name}:-{_escaped(value)}}}')}" for name, value in {**defaults, **deployment.environment}.items()
    ]
    worker = deployment.arguments("worker", "127.0.0.1")
    scheduler = deployment.arguments("scheduler", "127.0.0.1")
    compose = fill(
        "compose.yml",
        file="docker/docker-compose.yml" if clone else "docker-compose.yml",
        environment=indented(settings, 4),
        context=".." if clone else ".",
        dockerfile="docker/Dockerfile" if clone else "Dockerfile",
        worker=" ".join(worker[-4:]),
        worker_words=" ".join(worker[1:-4]),
        scheduler=" ".join(scheduler[-4:]),
        scheduler_words=" ".join(scheduler[1:-4]),
        worker_stop=deployment.worker_stop,
        scheduler_stop=SCHEDULER_STOP,
        dashboard_stop=DASHBOARD_STOP,
        grace=f"{deployment.settings.shutdown_grace.total_seconds():g}",
        worker_health=quoted(ANSWER.format(port=WORKER_PORT, path="/livez")),
        scheduler_health=quoted(ANSWER.format(port=SCHEDULER_PORT, path="/livez")),
        dashboard_health=quoted(ANSWER.format(port=DASHBOARD_PORT, path="/api/health/live")),
        dashboard_port=DASHBOARD_PORT,
    )
    nats = server_files([NatsServer("nats", "/data", monitor="0.0.0.0:8222")])
    return [
        GeneratedFile("docker-compose.yml", compose),
        GeneratedFile("nats.conf", nats[0].text),
        *image_files(clone=clone, more=pinned),
    ]


def _escaped(value: str) -> str:
    """Return a value as the default of a variable: `$` means something there."""
    return value.replace("$", "$$")


def image_files(*, clone: bool, more: tuple[str, ...] = ()) -> list[GeneratedFile]:
    """Return the Dockerfile with a target for each process."""
    others = "".join(f" {each}" for each in more)
    if clone:
        dockerfile = fill("Dockerfile.clone", uid=UID, more=others)
    else:
        dockerfile = fill("Dockerfile", uid=UID, version=__version__, more=others)
    ignored = ["# Only the packages go to the builder.", "*", "!packages"] if clone else ["# Nothing goes to the builder.", "*"]
    ignored += ["**/__pycache__", "**/*.egg-info", "**/dist"] if clone else []
    return [GeneratedFile("Dockerfile", dockerfile), GeneratedFile("Dockerfile.dockerignore", "\n".join(ignored) + "\n")]
