"""A link from each job to another system, as a setting."""

from dataclasses import dataclass, field
from string import Formatter
from urllib.parse import urlsplit

__all__ = ["FIELDS", "JobLink"]

FIELDS = ("job_id", "queue", "function", "workflow", "worker", "trace_id", "span_id")
"""What may stand between braces in a template."""


@dataclass(frozen=True)
class JobLink:
    """A name, and an address in which `{trace_id}`, `{job_id}` and such stand for what the job has.

    Raises:
        ValueError: The address is not one of http or https, or it asks for something else.
    """

    name: str
    template: str
    fields: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check the template."""
        try:
            fields = tuple(name for _, name, _, _ in Formatter().parse(self.template) if name is not None)
        except ValueError as error:
            raise ValueError(f"{self.template!r}: {error}") from error
        if wrong := [name for name in fields if name not in FIELDS]:
            raise ValueError(f"{{{wrong[0]}}} is not known; use {', '.join(f'{{{name}}}' for name in FIELDS)}")
        if urlsplit(self.template).scheme not in {"http", "https"}:
            raise ValueError(f"{self.template!r} must begin with http:// or https://")
        object.__setattr__(self, "fields", fields)
