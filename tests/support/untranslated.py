"""Finds English in the dashboard's templates that is not in its catalogue of texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import jinja2

READ_ALOUD = ("title", "aria-label", "placeholder", "alt", "data-question", "data-explain", "data-every", "data-chosen-count")
"""Attributes that hold text for people."""
NO_TEXT = ("script", "style", "code", "pre", "kbd")
"""Elements whose text is not translated: what is typed, or read by programs."""
SAME_EVERYWHERE = re.compile(
    r"\b(curl|approved|invoice|NAQ|NATS|UTC|API|JSON|KEDA|Python|openapi\.json|module:function|true|p(50|95|99)|v12|Ctrl K|K)\b"
)
GAP = "\ufffc"
"""Stands for what a template fills in."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_FIELD = re.compile(r"[a-z]+:")
_PROSE = re.compile(r"^[A-Z][a-z]+$|[A-Za-z]{2,}[,.:;]? [a-z]|[a-z] $|^ [a-z]|[a-z][.!?:]$")


def has_words(text: str) -> bool:
    """Whether a text has anything to translate."""
    return bool(_WORD.search(SAME_EVERYWHERE.sub("", text)))


class TextFinder(HTMLParser):
    """Collects what people read in a page: text, and the attributes that are shown or read aloud."""

    VOID = frozenset({"area", "br", "hr", "img", "input", "link", "meta", "source", "optionrect", "use", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        """Each with the element and attribute where it stands."""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note attributes."""
        if tag not in self.VOID:
            self._open.append(tag)
        self.texts += [(f"{tag} {name}", value) for name, value in attrs if value and name in READ_ALOUD]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note attributes."""
        self.texts += [(f"{tag} {name}", value) for name, value in attrs if value and name in READ_ALOUD]

    def handle_endtag(self, tag: str) -> None:
        """Close an element; templates may leave some open in one branch."""
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if data.strip() and not any(tag in NO_TEXT for tag in self._open):
            self.texts.append((self._open[-1] if self._open else "", data.strip()))


def untranslated(source: str, classes: frozenset[str]) -> Iterator[str]:
    """Yield the texts of a template that nobody could translate.

    Args:
        classes: Words that are names of the style sheet: a string of them is no text.
    """
    page, strings = _outside(source)
    finder = TextFinder()
    finder.feed(page)
    for place, text in finder.texts:
        if has_words(text):
            yield f"<{place}> {text}"
    for text in strings:
        if _is_prose(text[1:-1], classes):
            yield f"in an expression: {text}"


def _outside(source: str) -> tuple[str, list[str]]:
    """Return a template without code and without what `{% trans %}` encloses, and the strings in its code that no call marks."""
    parts: list[str] = []
    strings: list[str] = []
    held: list[tuple[str, str]] = []
    is_translated = False
    for _, kind, value in jinja2.Environment(trim_blocks=True, lstrip_blocks=True).lex(source):
        match kind:
            case "data":
                parts.append(GAP if is_translated else value)
            case "variable_begin" | "block_begin":
                held = []
            case "variable_end":
                parts.append(GAP)
            case "block_end":
                name = next((text for what, text in held if what == "name"), "")
                is_translated = name == "trans" or (is_translated and name != "endtrans")
            case "string" if not _is_marked(held):
                strings.append(value)
                held.append((kind, value))
            case "whitespace" | "comment":
                pass
            case _:
                held.append((kind, value))
    return "".join(parts), strings


def _is_marked(before: list[tuple[str, str]]) -> bool:
    """Whether a string after these tokens is an argument of `_(…)` or `ngettext(…)`."""
    words = [text for _, text in before]
    return words[-2:] in (["_", "("], ["ngettext", "("]) or words[-4:-2] == ["ngettext", "("]


def _is_prose(text: str, classes: frozenset[str]) -> bool:
    if text.endswith("-") or _FIELD.fullmatch(text):
        return False
    return has_words(text) and bool(_PROSE.search(text)) and not set(text.split()) <= classes
