"""Functions of jobs that use Django, Flask and SQLAlchemy, and the middleware of those that need an instance."""

import asyncio
import tempfile
import threading
from pathlib import Path

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from flask import Flask, current_app, g
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from naq_core.contrib.flask import AppContext
from naq_core.contrib.sqlalchemy import RemoveAsyncSession, RemoveSession, attempt_scope

FOLDER = Path(tempfile.mkdtemp(prefix="naq-test-"))

if not settings.configured:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FOLDER / "django.db"), "CONN_MAX_AGE": 0}
    settings.configure(DATABASES={"default": database}, DEBUG=True, LOGGING_CONFIG=None)
    django.setup()

from django.db import connection  # noqa: E402 - once there are settings


def query() -> list[int | bool]:
    """Return whether this thread had a connection, how many queries it remembers, and the thread."""
    before = connection.connection is not None
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert connection.connection is not None
    return [before, len(connection.queries), threading.get_ident()]


def close() -> str:
    """Close the connection of this thread."""
    connection.close()
    return "closed"


async def query_async() -> list[int | bool]:
    """Ask twice, in the thread that Django gives to this job."""
    first = await sync_to_async(query)()
    await asyncio.sleep(0)
    before, _, thread = await sync_to_async(query)()
    assert (before, thread) == (True, first[2])
    return first


ENDS: list[str] = []


def make_app() -> Flask:
    """Make an application that notes how its contexts end."""
    app = Flask("shop")

    @app.teardown_appcontext
    def end(error: BaseException | None) -> None:
        ENDS.append(f"{g.job}: {error!r}")

    return app


in_app = AppContext(make_app)


def in_flask(job: str) -> str:
    """Use the application."""
    assert "job" not in g
    g.job = job
    if job == "fail":
        raise ValueError(job)
    return f"{current_app.name} {len(ENDS)}"


async def in_flask_async(job: str) -> str:
    """Use it while others do."""
    await asyncio.sleep(0)
    return in_flask(job)


engine = create_engine(f"sqlite:///{FOLDER / 'plain.db'}", poolclass=NullPool)
session = scoped_session(sessionmaker(engine), scopefunc=attempt_scope)
remove = RemoveSession(session)

async_engine = create_async_engine(f"sqlite+aiosqlite:///{FOLDER / 'async.db'}", poolclass=NullPool)  # tests have many loops
async_session: async_scoped_session[AsyncSession] = async_scoped_session(
    async_sessionmaker(async_engine), scopefunc=attempt_scope
)
remove_async = RemoveAsyncSession(async_session)


def count_rows(fail: bool) -> list[int]:
    """Add a row and commit it unless it fails; return how many there are, and how many sessions."""
    session.execute(text("CREATE TABLE IF NOT EXISTS t (x INTEGER)"))
    session.execute(text("INSERT INTO t VALUES (1)"))
    found = session.execute(text("SELECT count(*) FROM t")).scalar_one()
    if fail:
        raise ValueError("no")
    session.commit()
    return [found, len(session.registry.registry)]


async def count_rows_async(fail: bool) -> list[int]:
    """Do the same with an async session."""
    await async_session.execute(text("CREATE TABLE IF NOT EXISTS t (x INTEGER)"))
    await async_session.execute(text("INSERT INTO t VALUES (1)"))
    found = (await async_session.execute(text("SELECT count(*) FROM t"))).scalar_one()
    if fail:
        raise ValueError("no")
    await async_session.commit()
    return [found, len(async_session.registry.registry)]


def open_sessions() -> int:
    """Return how many async sessions this process holds."""
    return len(async_session.registry.registry)
