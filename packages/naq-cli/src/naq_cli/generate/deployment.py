"""What the files have in common: who runs, where it listens, how long it may take to stop, and the settings."""

import json
import math
from dataclasses import dataclass

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode
from naq_core.names import check_queue_pattern
from naq_core.settings import Settings

UID = 10001
"""The user in images and pods, as a number: Kubernetes can tell that it is not root, and no other file knows it."""
WORKER_PORT, SCHEDULER_PORT, DASHBOARD_PORT = 8082, 8081, 8080
LEAVING = 25
"""Seconds beyond the grace within which a worker, or the supervisor of several, has ended in any case."""
SCHEDULER_STOP = DASHBOARD_STOP = 15
"""Seconds within which these have ended."""
PROCESSES = ("worker", "scheduler", "dashboard")

_SECRET = frozenset({"NAQ_NATS_PASSWORD", "NAQ_NATS_TOKEN", "NAQ_SIGNING_KEY", "NAQ_WEBHOOK_SECRET"})
_OF_THIS_MACHINE = frozenset({"NAQ_NATS_CONTEXT", "NAQ_WORKERS", "NAQ_CONCURRENCY"})
"""What another machine does not have, or what the command line of the files says."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What is to be deployed.

    Args:
        settings: Of the project; those that are not the default go into the files, except secrets.
        queues: That the workers serve.
        imports: Modules that worker and scheduler import first.
        server: The server's address where the settings name none.
    """

    settings: Settings
    queues: tuple[str, ...]
    imports: tuple[str, ...] = ()
    server: str = "nats://nats:4222"

    def __post_init__(self) -> None:
        for queue in self.queues:
            check_queue_pattern(queue.partition("=")[0])
        if self.settings.redacted_url() != self.settings.nats_url:
            raise CommandError(
                "nats_url holds a password, which does not belong into such a file: use NAQ_NATS_USER and NAQ_NATS_PASSWORD_FILE",
                ExitCode.USAGE,
            )

    @property
    def worker_stop(self) -> int:
        """Seconds that a worker gets to stop: its grace, and what its end may take."""
        return math.ceil(self.settings.shutdown_grace.total_seconds()) + LEAVING

    @property
    def environment(self) -> dict[str, str]:
        """The variables of every process, without secrets."""
        given = {name: value for name, value in self.settings.as_environment().items() if name not in _SECRET | _OF_THIS_MACHINE}
        grace = f"{self.settings.shutdown_grace.total_seconds():g}s"
        return {"NAQ_NATS_URL": self.server, **given, "NAQ_SHUTDOWN_GRACE": grace}

    def arguments(self, process: str, host: str) -> list[str]:
        """Return the words after `naq` that start a process.

        Args:
            process: worker, scheduler or dashboard.
            host: Where it answers questions for its health.
        """
        imports = [word for module in self.imports for word in ("--imports", module)]
        if process == "worker":
            return ["worker", *self.queues, *imports, "--health-port", str(WORKER_PORT), "--http-host", host]
        if process == "scheduler":
            return ["scheduler", *imports, "--health-port", str(SCHEDULER_PORT), "--http-host", host]
        return ["dashboard", "--host", host, "--port", str(DASHBOARD_PORT)]


def quoted(text: object) -> str:
    """Return a text as YAML, and as nats-server's configuration, read it: in the form of JSON."""
    return json.dumps(str(text), ensure_ascii=False)
