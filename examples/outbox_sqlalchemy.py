"""An outbox with SQLAlchemy: a job is stored in the transaction of your rows, and a relay enqueues it.

The relay dies after it has enqueued a job and before it has deleted its row. The next one enqueues it again, under the same id.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from local import naq
from sqlalchemy import Engine, create_engine, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from naq_client import SyncQueue
from naq_client.outbox import pack, send_sync
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


def receipt(order: int, log: str) -> str:
    """Do what must be done once."""
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(f"receipt of order {order}\n")
    return f"order {order} has its receipt"


def place(session: Session, queue: SyncQueue, number: int, log: str) -> str:
    """Store an order and the job that it needs: both, or none. Return the id of the job."""
    job = queue.call(receipt, number, log)
    session.add_all([Order(number=number), Waiting(packed=pack(job, queue.settings))])
    return job.job_id


def relay(engine: Engine, queue: SyncQueue, *, dies: bool = False) -> int:
    """Enqueue the jobs of the oldest rows, and delete those; return how many. To be called again and again."""
    with Session(engine) as session:
        rows = session.scalars(select(Waiting).where(Waiting.error == "").order_by(Waiting.id).limit(100)).all()
    results = list(zip(rows, send_sync(queue, [row.packed for row in rows]), strict=True))
    if dies:
        os._exit(9)
    done = [row.id for row, error in results if error is None]
    with Session(engine) as session, session.begin():
        session.execute(delete(Waiting).where(Waiting.id.in_(done)))
        for row, error in results:
            if error is not None and not isinstance(error, BrokerError):  # else later
                session.merge(row).error = str(error)
    return len(done)


def main(database: str, log: str) -> None:
    """Place two orders, of which one is rolled back, and relay with an accident."""
    engine = create_engine(database)
    Base.metadata.create_all(engine)
    with SyncQueue() as queue:
        with Session(engine) as session, session.begin():
            job_id = place(session, queue, 17, log)
        with Session(engine) as session:
            place(session, queue, 18, log)
            session.rollback()
        died = subprocess.run([sys.executable, __file__, database], check=False)
        print("the relay died:", died.returncode)
        print("its job is done:", queue.job(job_id).result(timeout=10))
        print("enqueued again:", relay(engine, queue), "left:", relay(engine, queue))
        queue.enqueue("math:sqrt", 2).result(timeout=10)  # comes after the second one, if there is a second one
    print("receipts:", Path(log).read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    if sys.argv[1:]:
        relay(create_engine(sys.argv[1]), SyncQueue(), dies=True)
    with tempfile.TemporaryDirectory() as folder, naq():
        main(f"sqlite:///{folder}/shop.db", f"{folder}/log")
