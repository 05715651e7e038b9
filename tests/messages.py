"""The catalogue of the dashboard's texts, made from its templates, scripts and modules: `hatch run messages` writes it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract, extract_javascript, extract_python
from babel.messages.pofile import write_po
from jinja2.ext import babel_extract

from naq_dashboard.pages.option_fields import option_texts

PACKAGE = Path(__file__).parent.parent / "packages" / "naq-dashboard" / "src" / "naq_dashboard"
CATALOGUE = PACKAGE / "locale" / "naq_dashboard.pot"
HEADER = r"""# The texts of NAQ's dashboard, which `hatch run messages` writes. How to translate them: docs/dashboard.md.
msgid ""
msgstr ""
"Project-Id-Version: naq-dashboard\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

"""
KEYWORDS: dict[str, Any] = {
    "_": None,
    "N_": None,
    "N_forms": (1, 2),
    "gettext": None,
    "ngettext": (1, 2),
    "said": None,
    "said_of": (2, 3),
}
KINDS: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ("templates/*.html", babel_extract, {"trimmed": "true", "trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}),
    ("**/*.py", extract_python, {}),
    ("static/*.js", extract_javascript, {}),
)


def written() -> str:
    """Return the file as it has to be."""
    catalogue = Catalog(charset="utf-8")
    for place, message in _found():
        catalogue.add(message, locations=[(place, 0)])
    out = io.BytesIO()
    write_po(out, catalogue, omit_header=True, sort_by_file=False, include_lineno=False, width=130)
    return HEADER + out.getvalue().decode()


def _found() -> Iterator[tuple[str, str | tuple[str, ...]]]:
    for pattern, method, options in KINDS:
        for path in sorted(PACKAGE.glob(pattern)):
            with path.open("rb") as file:
                for _, message, _, _ in extract(method, file, KEYWORDS, options=options):
                    yield path.relative_to(PACKAGE).as_posix(), message
    for text in option_texts():
        yield "pages/option_fields.py", text


if __name__ == "__main__":
    CATALOGUE.parent.mkdir(exist_ok=True)
    CATALOGUE.write_text(written(), encoding="utf-8")
