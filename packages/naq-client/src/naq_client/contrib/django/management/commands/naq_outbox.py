"""`manage.py naq_outbox`."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from naq_client.contrib.django.outbox import relay
from naq_core.platforms import STOP_SIGNALS

PAUSE = 1.0
"""Seconds between two looks at an outbox without rows, or while NATS is away."""
OLDER = 2.0
"""Seconds: younger rows are enqueued by the process that has stored them, which is about to."""


class OutboxCommand(BaseCommand):  # type: ignore[misc] # Django has no types
    """Relays the outbox until a signal stops it."""

    help = "Enqueue the jobs of the outbox that the processes which stored them did not enqueue. One such process is enough."

    def add_arguments(self, parser: Any) -> None:
        """Add the options."""
        parser.add_argument("--once", action="store_true", help="enqueue all rows that there are, and stop")
        parser.add_argument("--database", metavar="ALIAS", help="the database that has the table")

    def handle(self, *, once: bool, database: str | None, **_: Any) -> None:
        """Relay."""
        stopping = threading.Event()
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: stopping.set())
        while not stopping.is_set():
            done, left = relay(using=database, older=0.0 if once else OLDER)
            if done:
                self.stdout.write(f"enqueued {done} jobs")
            if once and (left or not done):
                return
            if left or not done:
                stopping.wait(PAUSE)


Command = OutboxCommand
"""What Django looks for."""
