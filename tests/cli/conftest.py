"""Fixtures of the command line's tests."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from naq_cli import _session
from naq_core.settings import Settings
from tests.cli.commands import started, wait_for_line

SHOP = """
import logging

def price(count, currency="EUR"):
    return f"{count!r} {currency}"

def lose(what):
    raise ValueError(f"no {what}")

def talk(words):
    for word in range(words):
        logging.getLogger("shop").warning("word %s", word)
    return "said"

def thing():
    return {1, 2}

def long(letters):
    return "x" * letters

def nothing():
    pass
"""


@pytest.fixture(autouse=True)
def logging_is_put_back() -> Iterator[None]:
    """Undo what a command that runs in this process does to logging: later tests look at what is logged."""
    changed = [logging.getLogger(), logging.getLogger(_session._CONNECTION_LOG)]
    before = [each.level for each in changed]
    yield
    for logger, level in zip(changed, before, strict=True):
        logger.setLevel(level)


@pytest.fixture
def here(settings: Settings) -> dict[str, Any]:
    """The variables that lead a process to this test's namespace."""
    return {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}


@pytest.fixture
def shop(here: dict[str, Any], tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A worker that knows the module `shop`."""
    (tmp_path / "shop.py").write_text(SHOP)
    with started("naq_worker", "default", PYTHONPATH=str(tmp_path), **here) as process:
        wait_for_line(process.stderr, "takes jobs from default")
        yield here
