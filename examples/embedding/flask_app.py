"""NAQ in Flask: `flask --app flask_app run`, and `naq worker` beside it."""

from typing import cast

from flask import Flask, current_app
from shop_jobs import price, receipt

from naq_client import SyncQueue
from naq_core import BrokerError


def create_app() -> Flask:
    """Make the application, with one queue for all its threads. It connects at the first use, in each process anew."""
    app = Flask(__name__)
    app.extensions["naq"] = SyncQueue(publish_budget=2)
    app.add_url_rule("/orders/<int:number>", view_func=order, methods=["POST"])
    app.add_url_rule("/price/<int:pieces>", view_func=ask_price)
    app.register_error_handler(BrokerError, later)
    return app


def queue() -> SyncQueue:
    """Return the application's queue."""
    return cast("SyncQueue", current_app.extensions["naq"])


def order(number: int) -> tuple[dict[str, str], int]:
    """Enqueue, and answer at once."""
    return {"job_id": queue().enqueue(receipt, number).job_id}, 202


def ask_price(pieces: int) -> dict[str, int]:
    """Wait for a result."""
    return {"price": queue().enqueue(price, pieces).result(timeout=10)}


def later(error: Exception) -> tuple[dict[str, str], int]:
    """Answer 503 when the NATS server is away."""
    return {"detail": str(error)}, 503
