"""An outside system that applies an effect once: what a careful user's database would do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS fences (job TEXT PRIMARY KEY, fence INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS effects (job TEXT PRIMARY KEY, fence INTEGER NOT NULL);
"""


def apply_once(path: Path | str, job: str, fence: int) -> bool:
    """Apply a job's effect unless it was applied before or a newer fence has been seen.

    Returns:
        Whether the effect was applied by this call.
    """
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as database:
        database.executescript(SCHEMA)
        database.execute("BEGIN IMMEDIATE")
        seen = database.execute("SELECT fence FROM fences WHERE job = ?", (job,)).fetchone()
        if seen is not None and seen[0] > fence:
            database.execute("ROLLBACK")
            return False
        database.execute("INSERT OR REPLACE INTO fences VALUES (?, ?)", (job, fence))
        added = database.execute("INSERT OR IGNORE INTO effects VALUES (?, ?)", (job, fence))
        database.execute("COMMIT")
        return added.rowcount == 1
