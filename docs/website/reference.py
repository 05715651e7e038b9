"""The reference: pages that are made from the code each time the site is built."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from website import interfaces, tables
from website.tables import cell

MODULES = (
    "naq_client",
    "naq_client.outbox",
    "naq_client.contrib.fastapi",
    "naq_client.contrib.starlette",
    "naq_client.contrib.litestar",
    "naq_client.contrib.flask",
    "naq_client.contrib.django.outbox",
    "naq_worker",
    "naq_scheduler",
    "naq_dashboard",
    "naq_core",
    "naq_core.connection",
    "naq_core.inspect",
    "naq_core.manage",
    "naq_core.views",
    "naq_core.events",
    "naq_core.attention",
    "naq_core.audit",
    "naq_core.schedules",
    "naq_core.cron",
    "naq_core.middleware",
    "naq_core.resources",
    "naq_core.webhook",
    "naq_core.logs",
    "naq_core.metrics",
    "naq_core.permissions",
    "naq_core.server",
    "naq_core.starting",
    "naq_core.testing",
    "naq_core.telemetry.otel",
    "naq_core.telemetry.sentry",
    "naq_core.telemetry.structlog",
    "naq_core.contrib.django",
    "naq_core.contrib.flask",
    "naq_core.contrib.sqlalchemy",
)
"""The modules that programs import from. A test finds names that the documentation imports and that are not here."""

TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "options": ("Options of jobs and schedules", tables.options),
    "settings": ("Settings", tables.settings),
    "errors": ("Errors", tables.errors),
    "cli": ("Command line", interfaces.command_line),
    "api": ("HTTP API", interfaces.api),
    "metrics": ("Metrics", interfaces.metrics),
    "events": ("Events", tables.events),
}
"""The other pages: their names, titles and texts."""


def public_names(module: str) -> list[str]:
    """Return the names of a module that programs may use: those in `__all__`, or else what it defines itself."""
    found = importlib.import_module(module)
    if listed := getattr(found, "__all__", None):
        return [name for name in listed if not name.startswith("_")]
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and callable(value) and getattr(value, "__module__", "") == module
    ]


def pages() -> Iterator[tuple[str, str, str]]:
    """Yield place, title and text of every page of the reference."""
    yield "reference/index.md", "Overview", _overview()
    for name, (title, text) in TABLES.items():
        yield f"reference/{name}.md", title, f"# {title}\n\n{text()}"
    homes = _homes()
    for module in MODULES:
        yield f"reference/{module}.md", module, _module_page(module, homes)


def _homes() -> dict[int, str]:
    """Return the module at which each object is documented: the first one that has it, by the object's identity."""
    homes: dict[int, str] = {}
    for module in ("naq_core.errors", *MODULES):
        for name in public_names(module):
            homes.setdefault(id(_value(module, name)), module)
    return homes


def _value(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _module_page(module: str, homes: dict[int, str]) -> str:
    about = inspect.getdoc(importlib.import_module(module)) or ""
    lines = [f"# {module}", "", about, ""]
    elsewhere: dict[str, list[str]] = {}
    for name in public_names(module):
        home = homes[id(_value(module, name))]
        if home == module:
            lines += [f"::: {module}.{name}", ""]
        else:
            elsewhere.setdefault(home, []).append(name)
    if elsewhere:
        lines += ["## Names from other modules", "", "| names | described at |", "|---|---|"]
        for home, names in sorted(elsewhere.items()):
            page = "errors" if home == "naq_core.errors" else home
            lines.append(f"| {', '.join(f'`{name}`' for name in names)} | [{home}]({page}.md) |")
    return "\n".join([*lines, ""])


def _overview() -> str:
    lines = [
        "# Reference",
        "",
        "These pages are made from the code: they say what this version does.",
        "",
        "| page | |",
        "|---|---|",
    ]
    lines += [f"| [{title}]({name}.md) | {_ABOUT[name]} |" for name, (title, _) in TABLES.items()]
    for module in MODULES:
        about = (inspect.getdoc(importlib.import_module(module)) or "").partition("\n\n")[0]
        lines.append(f"| [{module}]({module}.md) | {cell(about)} |")
    return "\n".join([*lines, ""])


_ABOUT = {
    "options": "what can be said of one job, of a task, and of a schedule",
    "settings": "every `NAQ_…` variable, its default and its meaning",
    "errors": "the tree of errors, and what each one means",
    "cli": "every command of `naq` with its options, and the exit codes",
    "api": "the dashboard's operations, their parameters and documents",
    "metrics": "what `/metrics` and OpenTelemetry report",
    "events": "what happens to jobs, as it happens",
}
