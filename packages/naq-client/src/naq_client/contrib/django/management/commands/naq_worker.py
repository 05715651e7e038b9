"""`manage.py naq_worker`."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from naq_client.contrib._workers import become_worker
from naq_client.contrib.django._interface import task_backends
from naq_client.contrib.django.backend import NaqBackend
from naq_core.errors import NaqError


class WorkerCommand(BaseCommand):  # type: ignore[misc] # Django has no types
    """Becomes a worker process."""

    help = (
        "Run a worker whose jobs can use models. After the names of queues (by default those of the backend) come the options of "
        "python -m naq_worker, such as --concurrency 4."
    )

    def add_arguments(self, parser: Any) -> None:
        """Add the option that the worker itself does not have."""
        parser.add_argument("--backend", metavar="ALIAS", help="the alias in TASKS whose queues and settings count")

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand everything that Django does not know to the worker."""
        options, rest = self.create_parser(argv[0], argv[1]).parse_known_args(argv[2:])
        self.check()
        try:
            self.handle(*rest, backend=options.backend)
        except (CommandError, NaqError) as error:
            self.stderr.write(f"{type(error).__name__}: {error}")
            sys.exit(2)

    def handle(self, *arguments: str, backend: str | None = None, **_: Any) -> None:
        """Become the worker."""
        found = _backend(backend)
        given = arguments if arguments and not arguments[0].startswith("-") else (*sorted(found.queues), *arguments)
        become_worker(
            found.queue.settings,
            given,
            imports=["naq_client.contrib.django.worker"],
            middleware="naq_core.contrib.django:django",
            folder=sys.path[0],
        )


def _backend(alias: str | None) -> NaqBackend:
    ours = [each for each in task_backends.all() if isinstance(each, NaqBackend) and alias in {None, each.alias}]
    if not ours:
        raise CommandError(f"TASKS has no backend {alias!r} of NAQ" if alias else "TASKS has no backend of NAQ")
    return ours[0]


Command = WorkerCommand
"""What Django looks for."""
