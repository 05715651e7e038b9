"""`naq config`: the settings and where each comes from."""

import dataclasses
from datetime import timedelta
from typing import Any

from cyclopts import App

from naq_cli._options import READING, Reading
from naq_cli._output import Column, Output
from naq_cli._session import offline
from naq_core.settings import Settings
from naq_core.wording import exact_span

app = App(name="config", help="Show every setting and where it comes from.")


@app.default
@app.command
def show(*, options: Reading = READING) -> int:
    """Show every setting, its value and its source; secrets are hidden.

    A setting comes from the command line, NAQ_<NAME>, a NATS_* variable, naq.toml or [tool.naq] in pyproject.toml, or is the
    default.
    """
    return offline("config show", options, _show)


def _show(settings: Settings, output: Output) -> None:
    rows = [
        {"setting": each.name, "value": _value(settings, each.name), "source": settings.source(each.name)}
        for each in dataclasses.fields(settings)
        if each.name != "sources"
    ]
    columns = (
        Column("Setting", lambda row: row["setting"]),
        Column("Value", lambda row: row["value"], wrap=True),
        Column("Source", lambda row: row["source"], wrap=True),
    )
    output.list(rows, columns, key=lambda row: f"{row['setting']}={row['value']}", empty="")


def _value(settings: Settings, name: str) -> Any:
    value = settings.redacted(name)
    if isinstance(value, timedelta):
        return exact_span(value.total_seconds())
    return list(value) if isinstance(value, tuple) else value
