"""The dashboard's settings: secrets from files."""

from pathlib import Path

import pytest

from naq_core import ConfigurationError, Settings
from naq_dashboard.settings import DashboardSettings


@pytest.mark.parametrize("name", ["PASSWORD", "USERS", "TOKEN", "READ_TOKEN", "SECRET"])
def test_a_blank_secret_file_does_not_open_the_dashboard(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf \r\n")
    monkeypatch.setenv(f"NAQ_DASHBOARD_{name}_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match=f"NAQ_DASHBOARD_{name}_FILE.*is empty"):
        DashboardSettings.load()


def test_a_byte_order_mark_is_no_part_of_a_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfopensesame\r\n")
    monkeypatch.setenv("NAQ_DASHBOARD_PASSWORD_FILE", str(tmp_path / "secret"))
    assert DashboardSettings.load().password == "opensesame"


def test_the_variables_that_kubernetes_sets_for_a_service_are_no_settings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for service in ("NAQ", "NAQ_WORKER", "NAQ_DASHBOARD"):
        monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.96.0.7")
        monkeypatch.setenv(f"{service}_SERVICE_PORT", "8080")
        monkeypatch.setenv(f"{service}_SERVICE_PORT_HTTP", "8080")
        monkeypatch.setenv(f"{service}_PORT", "tcp://10.96.0.7:8080")
        for part, value in {"": "tcp://10.96.0.7:8080", "_PROTO": "tcp", "_PORT": "8080", "_ADDR": "10.96.0.7"}.items():
            monkeypatch.setenv(f"{service}_PORT_8080_TCP{part}", value)
    Settings.load()
    assert caplog.messages == []
    assert DashboardSettings.load().port == 8080
    monkeypatch.setenv("NAQ_DASHBOARD_PORT", "9090")
    assert DashboardSettings.load().port == 9090
    monkeypatch.setenv("NAQ_PORT", "9090")
    Settings.load()
    assert "NAQ_PORT is not a NAQ setting" in caplog.text
