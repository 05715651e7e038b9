"""`naq generate kubernetes` and `naq generate keda`: deployments, and what scales the workers."""

import json

from naq_cli.generate.deployment import (
    DASHBOARD_PORT,
    DASHBOARD_STOP,
    PROCESSES,
    SCHEDULER_PORT,
    SCHEDULER_STOP,
    UID,
    WORKER_PORT,
    Deployment,
    quoted,
)
from naq_cli.generate.files import GeneratedFile, fill, indented
from naq_core._version import __version__
from naq_core.names import check_queue
from naq_core.storage.subjects import LEVELS, Names

EVERYWHERE = "0.0.0.0"  # noqa: S104 - of the pod


def kubernetes_file(deployment: Deployment, *, image: str = "", replicas: int | None = 2) -> GeneratedFile:
    """Return one file with everything but the server and the secrets.

    Args:
        deployment: What to run.
        image: Of all processes; empty: one for each, as `naq generate compose` makes them.
        replicas: Of workers; None where an autoscaler decides.
    """
    ports = {"worker": WORKER_PORT, "scheduler": SCHEDULER_PORT, "dashboard": DASHBOARD_PORT}
    stops = {"worker": deployment.worker_stop, "scheduler": SCHEDULER_STOP, "dashboard": DASHBOARD_STOP}
    counts = {"worker": replicas, "scheduler": 2, "dashboard": 1}
    probes = dict.fromkeys(("worker", "scheduler"), ("/startupz", "/livez", "/readyz"))
    probes["dashboard"] = ("/api/health/live", "/api/health/live", "/api/health/ready")
    config = [f"{name}: {quoted(value)}" for name, value in deployment.environment.items()]
    documents = [fill("config.k8s.yml", environment=indented(config, 2))]
    for process in PROCESSES:
        count = counts[process]
        documents.append(
            fill(
                "deployment.k8s.yml",
                process=process,
                replicas="" if count is None else f"replicas: {count}",
                image=quoted(image or f"naq-{process}:{__version__}"),
                command=json.dumps(["naq", *deployment.arguments(process, EVERYWHERE)]),
                port=ports[process],
                stop=stops[process],
                uid=UID,
                startup=probes[process][0],
                live=probes[process][1],
                ready=probes[process][2],
                more=fill("password.k8s.yml").rstrip() if process == "dashboard" else "",
            )
        )
        if count != 1:
            documents.append(fill("budget.k8s.yml", process=process))
    documents.append(fill("service.k8s.yml", port=DASHBOARD_PORT))
    return GeneratedFile("naq.yaml", fill("head.k8s.yml") + "---\n".join(documents))


def keda_file(deployment: Deployment, *, monitor: str, account: str, low: int, high: int, per_worker: int) -> GeneratedFile:
    """Return a ScaledObject for the workers that `kubernetes_file` deploys.

    Args:
        deployment: Whose queues count.
        monitor: Host and port of the monitoring of the server.
        account: Of the server, in which NAQ's streams are; `$G` is the global one.
        low: The fewest workers.
        high: The most.
        per_worker: Waiting jobs for which one worker is enough.
    """
    names = Names(deployment.settings.namespace)
    queues = [check_queue(queue.partition("=")[0]) for queue in deployment.queues]  # a pattern has no consumer
    triggers = [
        fill(
            "trigger.keda.yml",
            monitor=quoted(monitor),
            account=quoted(account),
            stream=quoted(names.jobs_stream),
            consumer=quoted(names.consumer(queue, level)),
            lag=quoted(per_worker),
        ).rstrip()
        for queue in queues
        for level in LEVELS
    ]
    return GeneratedFile("naq-keda.yaml", fill("keda.yml", low=low, high=high, triggers="\n".join(triggers)))
