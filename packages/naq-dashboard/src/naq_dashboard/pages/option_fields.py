"""The fields of forms for the options of a job, made of the table of options."""

from collections.abc import Collection
from dataclasses import dataclass

from naq_core.options import OPTIONS

__all__ = ["OptionField", "option_fields"]


@dataclass(frozen=True, slots=True)
class OptionField:
    """One field."""

    name: str
    label: str
    help: str
    kind: str
    """text, number, checkbox or select."""
    placeholder: str
    choices: tuple[str, ...]


def option_fields(names: Collection[str], prefix: str = "") -> list[OptionField]:
    """Return the fields of options, in the order of their names here.

    Args:
        prefix: What goes before the name of each field.
    """
    return [_field(name, prefix) for name in names]


def _field(name: str, prefix: str) -> OptionField:
    option = OPTIONS[name]
    kind = {"boolean": "checkbox", "integer": "number"}.get(str(option.kind.schema["type"]), "text")
    placeholder = "; e.g. ".join(text for text in (option.default, option.kind.example) if text)
    return OptionField(
        name=f"{prefix}{name}",
        label=name.replace("_", " ").capitalize(),
        help=option.help,
        kind="select" if option.kind.choices else kind,
        placeholder=placeholder,
        choices=option.kind.choices,
    )
