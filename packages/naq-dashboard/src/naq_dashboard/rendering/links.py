"""Addresses of the dashboard's own pages and files."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from naq_core.names import is_new_id
from naq_dashboard.rendering.assets import assets

__all__ = ["Links", "in_queue"]


@dataclass(frozen=True, slots=True)
class Links:
    """Builds addresses: what the outer application or the proxy puts before each path, the path, each part quoted."""

    base: str

    def __call__(self, *parts: object, **query: Any) -> str:
        """Return the address of a page, such as `url("jobs", job_id, state="dead")`."""
        path = "/".join(quote(str(part), safe="") for part in parts)
        text = urlencode([(key, value) for key, value in query.items() if value not in (None, "", ())], doseq=True)
        return f"{self.base}/{path}{'?' if text else ''}{text}"

    @staticmethod
    def can_hold(name: str) -> bool:
        """Return whether a stored name, which anybody may have written, can be a part of a path to servers and browsers."""
        return name not in {"", ".", ".."} and "/" not in name

    def static(self, path: str) -> str:
        """Return the address of a static file; it changes with the file, so that browsers can cache it without limit."""
        return f"{self.base}/static/{path}?v={assets()[path].version}"


def in_queue(job_id: str, queue: str) -> dict[str, str]:
    """Return what a link or button must name besides a job's id: its queue, unless NAQ made the id, which is then unique."""
    return {"queue": queue} if queue and not is_new_id(job_id) else {}
