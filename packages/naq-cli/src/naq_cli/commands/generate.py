"""`naq generate`: files for deploying NAQ."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from naq_cli._errors import CommandError
from naq_cli._options import OUTPUT, Common
from naq_cli._output import Output
from naq_cli._session import offline
from naq_cli.exit_codes import ExitCode
from naq_cli.generate.compose import compose_files
from naq_cli.generate.deployment import Deployment
from naq_cli.generate.files import GeneratedFile, deliver
from naq_cli.generate.kubernetes import keda_file, kubernetes_file
from naq_cli.generate.nats import NatsServer, accounts_block, parse_users, server_files
from naq_cli.generate.systemd import systemd_files
from naq_core.settings import Settings

app = App(name="generate", help="Make files for deploying NAQ: they fit the settings of this folder and the environment.")

LOCAL, SERVICE = "nats://127.0.0.1:4222", "nats://nats:4222"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Making(Common):
    """Options of every command that makes files."""

    to: Annotated[Path | None, Parameter(group=OUTPUT)] = None
    """Write the files into this folder; without it they are printed."""
    force: Annotated[bool, Parameter(negative="", group=OUTPUT)] = False
    """Replace files that are there with another content."""


MAKING = Making()
Queues = Annotated[tuple[str, ...], Parameter(name="--queue", negative_iterable=())]
Imports = Annotated[tuple[str, ...], Parameter(name="--imports", alias="-i", negative_iterable=())]
Flag = Annotated[bool, Parameter(negative="")]


@app.command
def compose(
    *, queue: Queues = (), imports: Imports = (), clone: Flag = False, install: tuple[str, ...] = (), options: Making = MAKING
) -> int:
    """Make docker-compose.yml, nats.conf and a Dockerfile: the server, and each process in a profile.

    Args:
        queue: A queue that it serves, or NAME=WEIGHT; may be repeated. Default: NAQ_WORKER_QUEUES, else NAQ_DEFAULT_QUEUE.
        imports: A module that worker and scheduler import first. May be repeated.
        clone: Build the images from a clone of NAQ's repository: the files belong into its folder docker.
        install: A further package for the images. May be repeated.
    """
    return _make(
        "compose",
        options,
        lambda settings: compose_files(_deployment(settings, queue, imports, SERVICE), clone=clone, pinned=install),
    )


@app.command
def systemd(
    *,
    queue: Queues = (),
    imports: Imports = (),
    workers: int = 1,
    directory: str = "/srv/naq",
    command: str | None = None,
    secrets: str = "/etc/naq/secrets.env",
    options: Making = MAKING,
) -> int:
    """Make units for worker, scheduler and dashboard: with a watchdog, time to stop, and a user of their own.

    Args:
        queue: A queue that it serves, or NAME=WEIGHT; may be repeated. Default: NAQ_WORKER_QUEUES, else NAQ_DEFAULT_QUEUE.
        imports: A module that worker and scheduler import first. May be repeated.
        workers: Processes of the worker.
        directory: Where your code is; modules are imported from there.
        command: The path of naq. Default: .venv/bin/naq in the directory.
        secrets: A file with passwords and keys as variables, which is read if it is there.
    """

    def make(settings: Settings) -> list[GeneratedFile]:
        path = command or f"{directory}/.venv/bin/naq"
        deployment = _deployment(settings, queue, imports, LOCAL)
        return systemd_files(deployment, directory=directory, command=path, secrets=secrets, workers=workers)

    return _make("systemd", options, make)


@app.command
def kubernetes(
    *,
    queue: Queues = (),
    imports: Imports = (),
    image: str = "",
    replicas: int = 2,
    autoscaled: Flag = False,
    options: Making = MAKING,
) -> int:
    """Make deployments of worker, scheduler and dashboard: probes, time to stop, a user without rights.

    Args:
        queue: A queue that they serve, or NAME=WEIGHT; may be repeated. Default: NAQ_WORKER_QUEUES, else NAQ_DEFAULT_QUEUE.
        imports: A module that workers and schedulers import first. May be repeated.
        image: The image of all processes. Default: naq-worker, naq-scheduler and naq-dashboard.
        replicas: How many workers.
        autoscaled: Name no number of workers: an autoscaler decides.
    """

    def make(settings: Settings) -> list[GeneratedFile]:
        deployment = _deployment(settings, queue, imports, SERVICE)
        return [kubernetes_file(deployment, image=image, replicas=None if autoscaled else _at_least(replicas, 0, "--replicas"))]

    return _make("kubernetes", options, make)


@app.command
def keda(
    *,
    queue: Queues = (),
    monitor: str = "nats:8222",
    account: str = "$G",
    min_workers: int = 1,
    max_workers: int = 10,
    jobs_per_worker: int | None = None,
    options: Making = MAKING,
) -> int:
    """Make a ScaledObject of KEDA: as many workers as the waiting jobs need.

    Args:
        queue: A queue whose jobs count; may be repeated. Default: NAQ_WORKER_QUEUES, else NAQ_DEFAULT_QUEUE.
        monitor: Host and port of the server's monitoring, as KEDA reaches it.
        account: The account that holds NAQ's streams.
        min_workers: The fewest; 0 stops the last one too.
        max_workers: The most.
        jobs_per_worker: For how many waiting jobs one worker is enough. Default: NAQ_CONCURRENCY.
    """

    def make(settings: Settings) -> list[GeneratedFile]:
        low = _at_least(min_workers, 0, "--min-workers")
        high = _at_least(max_workers, max(low, 1), "--max-workers")
        lag = _at_least(settings.concurrency if jobs_per_worker is None else jobs_per_worker, 1, "--jobs-per-worker")
        deployment = _deployment(settings, queue, (), SERVICE)
        return [keda_file(deployment, monitor=monitor, account=account, low=low, high=high, per_worker=lag)]

    return _make("keda", options, make)


@app.command(name="nats-config")
def nats_config(
    *,
    server: tuple[str, ...] = (),
    store_dir: str = "/var/lib/nats",
    monitor: str = "127.0.0.1:8222",
    tls: str = "",
    user: tuple[str, ...] = (),
    queue: Queues = (),
    options: Making = MAKING,
) -> int:
    """Make the configuration of nats-server: one, or three of a cluster, with users and their permissions.

    Args:
        server: The name of a server, by which the others reach it; three of them make a cluster. Default: one, called nats.
        store_dir: Where JetStream keeps its files.
        monitor: Address and port of the monitoring, which has no authentication.
        tls: The folder of cert.pem and key.pem. Default: no TLS.
        user: A user and the role, such as shop=producer; may be repeated. Default: anybody may do everything.
        queue: A queue that producers and workers may use; may be repeated. Default: NAQ_WORKER_QUEUES, else NAQ_DEFAULT_QUEUE.
    """

    def make(settings: Settings) -> list[GeneratedFile]:
        names = server or ("nats",)
        if len(set(names)) != len(names) or len(names) % 2 == 0:
            problem = "a cluster has an odd number of servers with different names, such as n1, n2 and n3"
            raise CommandError(f"--server {', '.join(names)}: {problem}", ExitCode.USAGE)
        users = parse_users(user)
        accounts = accounts_block(users, settings.namespace, _deployment(settings, queue, (), LOCAL).queues) if users else ""
        return server_files([NatsServer(name, store_dir, monitor, tls.rstrip("/")) for name in names], accounts)

    return _make("nats-config", options, make)


@app.command
def permissions(*, user: tuple[str, ...], queue: Queues = (), options: Making = MAKING) -> int:
    """Make the accounts block of nats-server's configuration: users with the least permissions for their roles.

    Args:
        user: A user and the role, such as shop=producer; may be repeated.
        queue: A queue that producers and workers may use; may be repeated. Default: NAQ_WORKER_QUEUES, else NAQ_DEFAULT_QUEUE.
    """

    def make(settings: Settings) -> list[GeneratedFile]:
        queues = _deployment(settings, queue, (), LOCAL).queues
        return [GeneratedFile("accounts.conf", accounts_block(parse_users(user), settings.namespace, queues))]

    return _make("permissions", options, make)


def _deployment(settings: Settings, queues: Sequence[str], imports: Sequence[str], server: str) -> Deployment:
    return Deployment(
        settings=settings,
        queues=tuple(queues) or settings.worker_queues or (settings.default_queue,),
        imports=tuple(imports),
        server=server,
    )


def _at_least(value: int, least: int, option: str) -> int:
    if value < least:
        raise CommandError(f"{option} {value}: must be at least {least}", ExitCode.USAGE)
    return value


def _make(kind: str, options: Making, make: Callable[[Settings], list[GeneratedFile]]) -> int:
    def work(settings: Settings, _: Output) -> None:
        deliver(make(settings), options.to, force=options.force)
        sys.stdout.flush()

    return offline(f"generate {kind}", options, work)
