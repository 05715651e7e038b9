"""A service that a signal stops has done what it was asked for: its exit code is 0."""

import signal
from pathlib import Path

import pytest

from naq_core.settings import Settings
from tests.cli.commands import started, wait_for_line

SERVICES = {
    "worker": " takes jobs from ",
    "scheduler": " started at ",
    "dashboard": "http://",
}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda sent: sent.name)
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


@pytest.mark.parametrize("service", ["worker", "scheduler"])
def test_a_service_under_nohup_goes_on_when_the_terminal_is_closed(service: str, settings: Settings) -> None:
    variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the child inherits it
    try:
        with started("naq_cli", service, **variables) as process:
            said = wait_for_line(process.stderr, SERVICES[service])
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            said += process.communicate(timeout=20)[1]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.returncode == 0, said
    assert "SIGHUP" not in said


@pytest.mark.parametrize("service", ["worker", "scheduler"])
@pytest.mark.parametrize("raised", ["SystemExit", "KeyboardInterrupt"])
def test_a_module_that_exits_while_it_is_imported_is_named(
    service: str, raised: str, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script_without_guard.py").write_text(f"raise {raised}\n")
    monkeypatch.chdir(tmp_path)
    with started("naq_cli", service, "--imports", "script_without_guard", NAQ_NATS_URL=settings.nats_url) as process:
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 4, said
    assert f"cannot import script_without_guard (from --imports): {raised}" in said


def test_ctrl_c_while_a_module_is_imported_is_an_interruption(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_module.py").write_text(
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.chdir(tmp_path)
    with started("naq_cli", "worker", "--imports", "slow_module", NAQ_NATS_URL=settings.nats_url) as process:
        wait_for_line(process.stderr, "importing")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 130, said
