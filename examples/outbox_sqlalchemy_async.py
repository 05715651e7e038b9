"""The outbox of outbox_sqlalchemy.py in async code."""

import asyncio
import tempfile
from pathlib import Path

from local import naq
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from naq_client import Queue
from naq_client.outbox import pack, send
from naq_core import BrokerError


class Base(DeclarativeBase):
    """The tables."""


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)


class Waiting(Base):
    """A job that is to be enqueued."""

    __tablename__ = "naq_outbox"
    id: Mapped[int] = mapped_column(primary_key=True)
    packed: Mapped[str]
    error: Mapped[str] = mapped_column(default="")
    """Why it can never be enqueued; such rows are passed over."""


async def receipt(order: int) -> str:
    """Pretend to send a receipt."""
    return f"order {order} has its receipt"


async def place(session: AsyncSession, queue: Queue, number: int) -> str:
    """Store an order and the job that it needs: both, or none. Return the id of the job."""
    job = queue.call(receipt, number)
    session.add_all([Order(number=number), Waiting(packed=pack(job, queue.settings))])
    await session.flush()
    return job.job_id


async def relay(sessions: async_sessionmaker[AsyncSession], queue: Queue) -> int:
    """Enqueue the jobs of the oldest rows, and delete those; return how many."""
    async with sessions() as session:
        rows = (await session.scalars(select(Waiting).where(Waiting.error == "").order_by(Waiting.id).limit(100))).all()
    results = list(zip(rows, await send(queue, [row.packed for row in rows]), strict=True))
    done = [row.id for row, error in results if error is None]
    async with sessions.begin() as session:
        await session.execute(delete(Waiting).where(Waiting.id.in_(done)))
        for row, error in results:
            if error is not None and not isinstance(error, BrokerError):  # else later
                (await session.merge(row)).error = str(error)
    return len(done)


async def main(database: Path) -> None:
    """Place two orders, of which one is rolled back."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with Queue() as queue:
        async with sessions.begin() as session:
            job_id = await place(session, queue, 17)
        async with sessions() as session:
            rolled_back = await place(session, queue, 18)
            await session.rollback()
        print("enqueued:", await relay(sessions, queue))
        print("done:", await (await queue.job(job_id)).result(timeout=10))
        print("rolled back, not enqueued:", await (await queue.job(rolled_back)).record() is None)
    await engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, naq():
        asyncio.run(main(Path(folder) / "shop.db"))
