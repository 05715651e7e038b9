"""Sentry for tests: in memory, or in a child process as lines of a file."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from naq_core.telemetry.sentry import Sentry


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.payload.json is not None:
                self.sent.append({"type": item.headers["type"], **item.payload.json})


class ToFile(Kept):
    """Appends it to the file that a variable names."""

    def capture_envelope(self, envelope: Envelope) -> None:
        super().capture_envelope(envelope)
        with Path(os.environ["NAQ_TEST_SENTRY"]).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(each, default=str) + "\n" for each in self.sent)
        self.sent.clear()


def start(transport: Transport) -> None:
    """Begin to report, without patching what other tests use; errors that are logged are events, as by default."""
    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1",
        transport=transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration()],
        auto_session_tracking=False,
        enable_backpressure_handling=False,
        release="1",
        server_name="test",
    )


def stop() -> None:
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)


if getattr(sys.modules["__main__"].__spec__, "name", "") == "naq_worker._executors.child":
    start(ToFile())

middleware = Sentry()
"""For child processes, which import it."""
