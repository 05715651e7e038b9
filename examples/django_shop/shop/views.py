"""The pages."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.utils.deprecation import MiddlewareMixin

from naq_core import BrokerError
from shop import tasks
from shop.models import Order

try:
    from django.tasks import default_task_backend
    from django.tasks.exceptions import TaskResultDoesNotExist
except ModuleNotFoundError:  # Django before 6
    from django_tasks import default_task_backend
    from django_tasks.exceptions import TaskResultDoesNotExist


def buy(_: HttpRequest, customer: str) -> JsonResponse:
    """Store an order, its receipt and its shipping: all of them, or none."""
    with transaction.atomic():
        order = Order.objects.create(customer=customer)
        receipt = tasks.receipt.enqueue(order.pk)  # enqueued when the transaction is committed
        shipping = tasks.ship.enqueue(order_id=order.pk)  # stored with it
        if customer == "nobody":
            raise ValueError("rolled back: no order, and no task")
    return JsonResponse({"order": order.pk, "receipt": receipt.id, "shipping": shipping.id}, status=202)


def charge(_: HttpRequest, order: int, works_at: int) -> JsonResponse:
    """Enqueue a task that is tried several times."""
    return JsonResponse({"task": tasks.charge.enqueue(order, works_at=works_at).id}, status=202)


async def ask_price(_: HttpRequest, pieces: int) -> JsonResponse:
    """Enqueue from an async view."""
    result = await tasks.price.aenqueue(pieces)
    return JsonResponse({"task": result.id}, status=202)


async def result(_: HttpRequest, task_id: str) -> JsonResponse:
    """Tell how a task is getting on."""
    try:
        found = await default_task_backend.aget_result(task_id)
    except TaskResultDoesNotExist:
        return JsonResponse({"detail": "no such task"}, status=404)
    return JsonResponse(shown(found))


def shown(found: Any) -> dict[str, Any]:
    """Return a result as JSON."""
    return {
        "task": found.task.name,
        "queue": found.task.queue_name,
        "priority": found.task.priority,
        "status": found.status,
        "args": found.args,
        "kwargs": found.kwargs,
        "attempts": found.attempts,
        "errors": [each.exception_class.__name__ for each in found.errors],
        "value": found.return_value if found.status == "SUCCESSFUL" else None,
    }


class Later(MiddlewareMixin):  # type: ignore[misc] # Django has no types
    """Answers 503 when the NATS server is away."""

    def process_exception(self, _: HttpRequest, error: Exception) -> JsonResponse | None:
        """Leave other errors to Django."""
        return JsonResponse({"detail": "Please try again."}, status=503) if isinstance(error, BrokerError) else None
