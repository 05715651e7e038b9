"""The fields of forms for the options of a job or a schedule, made of the table of options."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from naq_core.options import OPTIONS, Option
from naq_core.wording import exact_span

__all__ = ["OptionField", "option_fields"]


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
    placeholder = "; e.g. ".join(text for text in (option.default, option.kind.example) if text)
    return OptionField(
        name=f"{prefix}{name}",
        label=name.replace("_", " ").capitalize(),
        help=option.help,
        kind="select" if option.kind.choices else kind,
        least=option.kind.schema.get("minimum", 0),
        placeholder=placeholder,
        choices=option.kind.choices,
        value=_written(value),
    )


def _written(value: object) -> str:
    if isinstance(value, float):
        return exact_span(value)
    return value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
