"""The tasks. They know nothing of NAQ: `TASKS` in the settings says who runs them."""

from typing import Any

from django.db.models import F

from shop.models import Order

try:
    from django.tasks import task
except ModuleNotFoundError:  # Django before 6
    from django_tasks import task


@task(queue_name="mail", priority=10)
def receipt(order_id: int) -> str:
    """Send a receipt; the row is committed when this runs."""
    order = Order.objects.get(pk=order_id)
    return f"Dear {order.customer}, thank you for order {order.pk}."


@task
async def price(pieces: int, each: int = 7) -> int:
    """Compute a price in the event loop."""
    return pieces * each


@task(takes_context=True)
def charge(context: Any, order_id: int, works_at: int) -> dict[str, Any]:
    """Charge a card, which works at the third attempt, say."""
    if context.attempt < works_at:
        raise ConnectionError(f"the bank did not answer at attempt {context.attempt}")
    Order.objects.filter(pk=order_id).update(is_paid=True)
    return {"order": order_id, "attempts": context.attempt}


@task(backend="outbox")
def ship(order_id: int) -> None:
    """Hand an order to the carrier."""
    Order.objects.filter(pk=order_id).update(shipped=F("shipped") + 1)
