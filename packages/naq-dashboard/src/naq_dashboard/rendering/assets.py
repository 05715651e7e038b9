"""The static files, held in memory."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Asset", "assets"]

TYPES = {  # the charset is added when they are sent
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file, held in memory: there are a dozen small ones."""

    data: bytes
    media_type: str
    version: str


@cache
def assets() -> dict[str, Asset]:
    """Return every static file by its path."""
    found: dict[str, Asset] = {}
    root = files("naq_dashboard") / "static"
    pending = [(root, "")]
    while pending:
        folder, prefix = pending.pop()
        for entry in folder.iterdir():
            path = f"{prefix}{entry.name}"
            suffix = entry.name.rpartition(".")[2]
            if entry.is_dir():
                pending.append((entry, f"{path}/"))
            elif suffix in TYPES:
                data = entry.read_bytes()
                found[path] = Asset(data, TYPES[suffix], hashlib.sha256(data).hexdigest()[:12])
    return found
