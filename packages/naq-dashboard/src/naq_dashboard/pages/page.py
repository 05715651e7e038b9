"""What a page is, and how it is asked."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from litestar.exceptions import ValidationException

from naq_dashboard.access.roles import Viewer
from naq_dashboard.languages import ENGLISH
from naq_dashboard.state import AppState
from naq_dashboard.times import UTC_NAME

__all__ = ["Page", "Query"]


@dataclass(frozen=True, slots=True)
class Query:
    """The question in the address: everything that a page shows follows from it."""

    pairs: tuple[tuple[str, str], ...]
    viewer: Viewer
    zone: str = UTC_NAME
    """In which the page writes its times, and reads those that name no zone."""
    language: str = ENGLISH
    """In which the page is written."""

    def get(self, name: str, default: str = "") -> str:
        """Return the last value of a parameter."""
        return next((value.strip() for key, value in reversed(self.pairs) if key == name), default)

    def all(self, name: str) -> list[str]:
        """Return every value of a parameter that is not empty."""
        return [value.strip() for key, value in self.pairs if key == name and value.strip()]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number within bounds.

        Raises:
            ValidationException: The value is not valid.
        """
        text = self.get(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise ValidationException(f"{name} must be an integer, not {text[:40]!r}")
        return max(low, min(int(text), high))

    def asdict(self) -> Mapping[str, list[str]]:
        """Return all parameters, for links that change one of them."""
        found: dict[str, list[str]] = {}
        for key, value in self.pairs:
            if value.strip():
                found.setdefault(key, []).append(value.strip())
        return found


TEMPLATES = {"job-new": "job_form", "schedule-new": "schedule_form", "schedule-edit": "schedule_form"}

Loader: TypeAlias = Callable[[AppState, Query], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its name (that of its template), its path and what loads it."""

    name: str
    path: str
    load: Loader
    watches: tuple[str, ...] = field(default=())
    """Which parameters narrow the events that concern it: `queue`, `job_id`."""

    @property
    def template(self) -> str:
        """The template's file."""
        return f"{TEMPLATES.get(self.name, self.name)}.html"
