"""Short and long forms of one test."""

from __future__ import annotations

from typing import Any

import pytest


def short_and_long(short: Any, long: Any, *, long_timeout: float = 900) -> pytest.MarkDecorator:
    """Parametrize `form`: the short form runs always, the long one only with `-m slow`."""
    marks = [pytest.mark.slow, pytest.mark.timeout(long_timeout)]
    return pytest.mark.parametrize("form", [pytest.param(short, id="short"), pytest.param(long, id="long", marks=marks)])
