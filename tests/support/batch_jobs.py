"""Jobs that are run together, for worker processes."""

from __future__ import annotations

import os

from naq_client import task


@task(batch=6, window=0.2)
async def exit_for_poison(names: list[str]) -> list[int]:
    """Take the whole worker down if a certain job is among them."""
    if "poison" in names:
        os._exit(3)
    return [len(names)] * len(names)
