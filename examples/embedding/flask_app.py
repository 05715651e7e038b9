"""NAQ in Flask: `flask --app flask_app run`, and `flask --app flask_app workers` beside it."""

from flask import Flask, current_app
from shop_jobs import price, receipt

from naq_client.contrib.flask import Naq

naq = Naq()


def create_app() -> Flask:
    """Make the application, with one queue for all its threads. It connects at the first use in each process."""
    app = Flask(__name__)
    app.config.from_mapping(SHOP="the corner shop", NAQ_PUBLISH_BUDGET=2)
    naq.init_app(app)
    app.add_url_rule("/orders/<int:number>", view_func=order, methods=["POST"])
    app.add_url_rule("/price/<int:pieces>", view_func=ask_price)
    app.add_url_rule("/sign", view_func=sign)
    return app


def order(number: int) -> tuple[dict[str, str], int]:
    """Enqueue, and answer at once."""
    return {"job_id": naq.queue.enqueue(receipt, number).job_id}, 202


def ask_price(pieces: int) -> dict[str, int]:
    """Wait for a result."""
    return {"price": naq.queue.enqueue(price, pieces).result(timeout=10)}


def sign() -> dict[str, str]:
    """Let a job look at the configuration of the application."""
    return {"shop": naq.queue.enqueue(name_of_shop).result(timeout=10)}


def name_of_shop() -> str:
    """Run in a worker, within the context of the application."""
    return str(current_app.config["SHOP"])
