"""NAQ in Django, a project in one file: `python django_app.py migrate`, then `uvicorn django_app:application`.

`naq worker` runs beside it.
"""

import os
import sys

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from shop_jobs import price, receipt

from naq_client import Queue, SyncQueue
from naq_core import BrokerError

settings.configure(
    SECRET_KEY=os.environ.get("SHOP_SECRET", "for this example only"),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3")}},
    MIDDLEWARE=[f"{__name__}.Later"],
)
django.setup()

# Both connect at their first use, in each process anew. A request waits 2 s at most for a NATS server that is away.
queue = SyncQueue(publish_budget=2)
async_queue = Queue(publish_budget=2)


def sign_up(_: HttpRequest, name: str) -> JsonResponse:
    """Enqueue when the transaction is committed: a worker may start at once, and must find the row."""
    from django.contrib.auth.models import User  # noqa: PLC0415 - models are there after `setup()`

    with transaction.atomic():
        user = User.objects.create(username=name)
        once = queue.options(job_id=f"welcome-{user.pk}")
        transaction.on_commit(lambda: once.enqueue(receipt, user.pk))
        if name == "nobody":
            raise ValueError("rolled back: no user, and no job")
    return JsonResponse({"job_id": f"welcome-{user.pk}"}, status=202)


def ask_price(_: HttpRequest, pieces: int) -> JsonResponse:
    """Wait for a result."""
    return JsonResponse({"price": queue.enqueue(price, pieces).result(timeout=10)})


async def ask_price_async(_: HttpRequest, pieces: int) -> JsonResponse:
    """Wait for a result without keeping a thread."""
    job = await async_queue.enqueue(price, pieces)
    return JsonResponse({"price": await job.result(timeout=10)})


class Later(MiddlewareMixin):  # type: ignore[misc] # Django has no types
    """Answers 503 when the NATS server is away."""

    def process_exception(self, _: HttpRequest, error: Exception) -> JsonResponse | None:
        """Leave other errors to Django."""
        return JsonResponse({"detail": str(error)}, status=503) if isinstance(error, BrokerError) else None


urlpatterns = [
    path("users/<str:name>", sign_up),
    path("price/<int:pieces>", ask_price),
    path("async-price/<int:pieces>", ask_price_async),
]
application = get_asgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
