"""The resources of `resources.py`, and the functions that ask for them; workers import it."""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

from naq_client import task
from naq_core.resources import resource


@resource
async def stock() -> AsyncIterator[dict[str, int]]:
    """Be opened once per worker, when the first job asks for it."""
    print("the stock is opened")
    yield {"bread": 2, "cake": 1}
    print("the stock is closed")


@resource
def database() -> Iterator[Path]:
    """Make the tables, in a thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE sales (what TEXT)")
        yield path


@resource(scope="attempt")
def transaction(path: Path = database) -> Iterator[sqlite3.Connection]:
    """Be opened for each attempt, in the thread of its function; commit, or roll back if the attempt fails."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


@task(max_retries=0)
def sell(what: str, on_hand: dict[str, int] = stock, db: sqlite3.Connection = transaction) -> str:
    """Sell one piece, or nothing at all."""
    db.execute("INSERT INTO sales VALUES (?)", (what,))
    if not on_hand[what]:
        raise LookupError(f"no {what} left")
    on_hand[what] -= 1
    (count,) = db.execute("SELECT count(*) FROM sales").fetchone()
    return f"sale {count}: {what}, {on_hand[what]} left"
