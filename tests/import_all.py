"""Imports every module of the packages named on the command line.

Run where only those packages are installed, it finds dependencies that none of them declares.
"""

import importlib
import pkgutil
import sys

EXTRAS = {
    *(f"naq_core.telemetry.{name}" for name in ("_instruments", "otel", "sentry", "structlog")),
    *(f"naq_cli.top.{name}" for name in ("logs", "screen")),
    *(f"naq_core.contrib.{name}" for name in ("django", "flask", "sqlalchemy")),
    *(f"naq_client.contrib.{name}" for name in ("fastapi", "flask", "litestar", "starlette")),
    *(
        f"naq_client.contrib.django.{name}"
        for name in ("_interface", "apps", "backend", "models", "outbox", "results", "task", "worker")
    ),
    "naq_client.contrib.django.migrations.0001_initial",
    *(f"naq_client.contrib.django.management.commands.{name}" for name in ("naq_outbox", "naq_worker")),
    "naq_dashboard.guard.oidc",
}
"""Modules that need a package which only an extra or the program itself installs."""


def import_all(package: str) -> list[str]:
    """Import a package and all modules below it, except those that are programs.

    Args:
        package: The import name.

    Returns:
        The names of the modules, sorted.
    """
    root = importlib.import_module(package)
    below = pkgutil.walk_packages(root.__path__, prefix=f"{package}.")
    names = [package, *(module.name for module in below if not module.name.endswith(".__main__") and module.name not in EXTRAS)]
    for name in names:
        importlib.import_module(name)
    return sorted(names)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(f"{argument}: {len(import_all(argument))} modules import")
