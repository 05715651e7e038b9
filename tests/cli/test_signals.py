"""A service that a signal stops has done what it was asked for: its exit code is 0."""

import signal

import pytest

from naq_core.settings import Settings
from tests.cli.commands import started, wait_for_line

SERVICES = {
    "worker": " takes jobs from ",
    "scheduler": " runs at ",
    "dashboard": "http://",
}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_ends_cleanly_at_a_signal(service: str, sent: signal.Signals, settings: Settings) -> None:
    port = ["--port", "0"] if service == "dashboard" else []
    variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace, "NAQ_LOG_LEVEL": "DEBUG"}
    with started("naq_cli", service, *port, **variables) as process:
        said = wait_for_line(process.stderr, SERVICES[service])
        if service == "dashboard":
            said += wait_for_line(process.stderr, "Application startup complete")
        process.send_signal(sent)
        said += process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    assert "Traceback" not in said
