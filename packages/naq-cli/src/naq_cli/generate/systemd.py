"""`naq generate systemd`: units for machines of your own."""

from pathlib import PurePosixPath

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode
from naq_cli.generate.deployment import DASHBOARD_STOP, PROCESSES, SCHEDULER_STOP, Deployment
from naq_cli.generate.files import GeneratedFile, fill

LOOPBACK = "127.0.0.1"
WATCHDOG = 60
"""Seconds without a turn of the event loop after which systemd restarts a process; a stuck one is noticed after 30."""
TITLES = {"worker": "Worker of NAQ", "scheduler": "Scheduler of NAQ", "dashboard": "Dashboard of NAQ"}


def systemd_files(deployment: Deployment, *, directory: str, command: str, secrets: str, workers: int) -> list[GeneratedFile]:
    """Return a unit for each process.

    Args:
        deployment: What to run.
        directory: Of the code, from which its modules are imported.
        command: The path of `naq`.
        secrets: A file of variables, which systemd reads as root.
        workers: Processes of the worker.

    Raises:
        CommandError: A path is not absolute or has characters that systemd would interpret.
    """
    for option, path in (("--directory", directory), ("--command", command), ("--secrets", secrets)):
        if not PurePosixPath(path).is_absolute() or any(character in path for character in " \t\n\"'%$\\"):
            raise CommandError(
                f"{option} {path!r}: systemd needs an absolute path without spaces, quotes, % and $", ExitCode.USAGE
            )
    stops = {"worker": deployment.worker_stop, "scheduler": SCHEDULER_STOP, "dashboard": DASHBOARD_STOP}
    environment = "\n".join(f'Environment="{name}={_escaped(value)}"' for name, value in deployment.environment.items())
    made = []
    for process in PROCESSES:
        words = [command, *map(_escaped, deployment.arguments(process, LOOPBACK))]
        if process == "worker" and workers != 1:
            words += ["--workers", str(workers)]
        tells = process != "dashboard"
        unit = fill(
            "unit.service",
            title=TITLES[process],
            kind="notify" if tells else "exec",
            watchdog=f"WatchdogSec={WATCHDOG}" if tells else "",
            directory=directory,
            command=" ".join(words),
            environment=environment,
            secrets=secrets,
            stop=stops[process],
        )
        made.append(GeneratedFile(f"naq-{process}.service", unit))
    return made


def _escaped(value: str) -> str:
    """Return a text as it stands in a unit: `%` and `$` mean something there."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
