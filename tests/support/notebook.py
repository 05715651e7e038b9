"""Runs the cells of a notebook as its kernel does, in IPython on a running event loop, and prints what each cell shows.

`python -m tests.support.notebook FILE`; the exit code is 1 when a cell raises.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from IPython.core import interactiveshell


async def run(cells: list[dict[str, Any]]) -> int:
    kernel: Any = interactiveshell  # half of it is untyped
    shell = kernel.InteractiveShell()
    for cell in cells:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            done = await shell.run_cell_async(source, store_history=True, transformed_cell=shell.transform_cell(source))
            if not done.success:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"])))
