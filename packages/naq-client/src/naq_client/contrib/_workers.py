"""Commands of web frameworks that become a worker process."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points

from naq_core.errors import NaqError
from naq_core.settings import Settings

REQUESTS_ONLY = "NAQ_PUBLISH_BUDGET"
"""What suits requests and not workers, unless it is set for all in the environment."""


def become_worker(
    settings: Settings,
    arguments: Iterable[str],
    *,
    imports: Iterable[str] = (),
    middleware: str | None = None,
    more: Mapping[str, str] | None = None,
    folder: str = "",
) -> None:
    """Replace this process by a worker with the settings of the application's queue.

    Args:
        settings: Of the queue.
        arguments: Of `python -m naq_worker`.
        imports: Names of modules that it imports first.
        middleware: The name of one that is added, innermost.
        more: Other variables of its environment.
        folder: One that it imports from, beside the current one.

    Raises:
        NaqError: naq-worker is not installed.
    """
    found = next(iter(entry_points(group="naq.commands", name="worker")), None)
    if found is None:
        raise NaqError("naq-worker is not installed: pip install naq-worker")
    variables = settings.as_environment()
    if REQUESTS_ONLY not in os.environ:
        variables.pop(REQUESTS_ONLY, None)
    if middleware is not None and middleware not in settings.middleware:
        variables["NAQ_MIDDLEWARE"] = ",".join(filter(None, [variables.get("NAQ_MIDDLEWARE", ""), middleware]))
    if folder:
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", found.module.partition(".")[0], *arguments]
    for module in imports:
        command += ["--imports", module]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **variables, **(more or {})})  # noqa: S606 - no shell is wanted
