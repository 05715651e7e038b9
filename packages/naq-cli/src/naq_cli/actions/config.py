"""Showing settings."""

import dataclasses
from datetime import timedelta
from typing import Any

from naq_cli._output import Column, Output
from naq_core.settings import Settings
from naq_core.wording import exact_span


def show_settings(settings: Settings, output: Output) -> None:
    """List every setting with its value and source."""
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
