"""Which Python files change, for services that start again then; needs the package watchfiles."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path

MOST_NAMED = 3


def can_watch_files() -> bool:
    """Return whether watchfiles is installed."""
    return importlib.util.find_spec("watchfiles") is not None


async def changed_files() -> AsyncIterator[str]:
    """Yield the names of Python files below the current folder as they change, a few of them; needs watchfiles."""
    from watchfiles import PythonFilter, awatch  # noqa: PLC0415 - an optional dependency

    here = Path.cwd()
    async for changes in awatch(here, watch_filter=PythonFilter(), debounce=200, step=50):
        paths = sorted({Path(path) for _, path in changes})
        more = " and others" if len(paths) > MOST_NAMED else ""
        yield ", ".join(str(path.relative_to(here)) for path in paths[:MOST_NAMED]) + more
