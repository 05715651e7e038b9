"""The fields of forms for the options of a job or a schedule, made of the table of options."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from naq_core.options import OPTIONS, SCHEDULE_OPTIONS, Option
from naq_core.wording import exact_span
from naq_dashboard.languages import _

__all__ = ["OptionField", "option_fields", "option_texts"]

SHORT = {"all", "never", "now"}
"""Defaults of one word that are no values."""


@dataclass(frozen=True, slots=True)
class OptionField:
    """One field."""

    name: str
    label: str
    help: str
    kind: str
    """text, number, checkbox or select."""
    least: int
    """Of a number."""
    placeholder: str
    choices: tuple[str, ...]
    value: str


def option_fields(
    names: Collection[str], prefix: str = "", table: Mapping[str, Option] = OPTIONS, values: object = None
) -> list[OptionField]:
    """Return the fields of options, in the order of their names here.

    Args:
        prefix: What goes before the name of each field.
        table: The options that there are.
        values: What has the present values in its attributes.
    """
    return [_field(name, prefix, table[name], getattr(values, name, None)) for name in names]


def _field(name: str, prefix: str, option: Option, value: object) -> OptionField:
    kind = {"boolean": "checkbox", "integer": "number"}.get(str(option.kind.schema["type"]), "text")
    default, example = (_(text) if _is_prose(text) else text for text in (option.default, option.kind.example))
    placeholder = _("%(default)s; e.g. %(example)s") % {"default": default, "example": example} if default and example else ""
    return OptionField(
        name=f"{prefix}{name}",
        label=_(_label(name)),
        help=_(option.help),
        kind="select" if option.kind.choices else kind,
        least=option.kind.schema.get("minimum", 0),
        placeholder=placeholder or default or example,
        choices=option.kind.choices,
        value=_written(value),
    )


def option_texts() -> Iterator[str]:
    """Yield the texts of all fields in English, for the catalogue."""
    for table in (OPTIONS, SCHEDULE_OPTIONS):
        for name, option in table.items():
            yield from (_label(name), option.help, *filter(_is_prose, (option.default, option.kind.example)))


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _is_prose(text: str) -> bool:
    """Whether a default or an example is said in words, not a value that could be typed."""
    return text in SHORT or (" " in text and text.islower() and "*" not in text) or " or " in text


def _written(value: object) -> str:
    if isinstance(value, float):
        return exact_span(value)
    return value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
