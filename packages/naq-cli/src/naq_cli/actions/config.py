"""Showing settings."""

import dataclasses
from datetime import timedelta
from typing import Any

from naq_cli._output import Column, Output
from naq_core.settings import Settings


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
        return _duration(value)
    return list(value) if isinstance(value, tuple) else value


def _duration(value: timedelta) -> str:
    """Return a duration as it may be written in a settings file: `7d`, `90s`, `0.5s`."""
    seconds = value.total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s"
