"""Files of others are exactly what they were when they were taken."""

import hashlib
import tomllib
from importlib.resources import files

VENDOR = files("naq_dashboard") / "static" / "vendor"


def test_every_foreign_file_is_listed_and_unchanged() -> None:
    listed = {each["name"]: each["sha256"] for each in tomllib.loads((VENDOR / "VENDOR.toml").read_text())["file"]}
    found = {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in VENDOR.iterdir()
        if each.is_file() and each.name != "VENDOR.toml"
    }
    assert found == listed


def test_their_licences_come_along() -> None:
    assert {each.name for each in (VENDOR / "LICENSES").iterdir()} == {"htmx.txt", "lucide.txt", "uplot.txt"}
