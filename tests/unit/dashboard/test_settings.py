"""The dashboard's settings: secrets from files."""

from pathlib import Path

import pytest

from naq_core import ConfigurationError
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
