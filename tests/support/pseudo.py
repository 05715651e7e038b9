"""A language that is English in brackets: what stands outside of them on a page is in no catalogue."""

from __future__ import annotations

import io
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from tests.support.untranslated import TextFinder

LANGUAGE = "xx"
BEGIN, END = "⟦", "⟧"


def write_catalogue(template: Path, folder: Path) -> None:
    """Write the compiled catalogue of the language below a folder."""
    catalogue = read_po(io.BytesIO(template.read_bytes()))
    for message in catalogue:
        if message.id:
            forms = message.id if isinstance(message.id, tuple) else (message.id,)
            marked = tuple(f"{BEGIN}{each}{END}" for each in forms)
            message.string = marked if len(marked) > 1 else marked[0]
    path = folder / LANGUAGE / "LC_MESSAGES" / "naq_dashboard.mo"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_mo(file, catalogue)


def outside(page: str) -> list[tuple[str, str]]:
    """Return what people read in a page outside of the brackets, each with the element where it stands.

    Text in elements that say themselves that they are English does not count.
    """
    finder = _Finder()
    finder.feed(page)
    depth = 0
    found = []
    for place, text in finder.texts:
        is_text = " " not in place
        left, level = _outside(text, depth if is_text else 0)
        depth = level if is_text else depth
        if left.strip():
            found.append((place, left.strip()))
    return found


def _outside(text: str, depth: int) -> tuple[str, int]:
    left = []
    for letter in text:
        depth += (letter == BEGIN) - (letter == END)
        left.append(letter if not depth and letter != END else " ")
    return "".join(left), depth


class _Finder(TextFinder):
    """Leaves out elements in English; their brackets, of data in them, cannot be open at their end."""

    def __init__(self) -> None:
        super().__init__()
        self._english: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        is_english = bool(self._english) or ("lang", "en") in attrs
        super().handle_starttag(tag, [] if is_english else attrs)
        if ("lang", "en") in attrs and tag not in self.VOID:
            self._english.append(len(self._open))

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        while self._english and len(self._open) < self._english[-1]:
            self._english.pop()

    def handle_data(self, data: str) -> None:
        if not self._english:
            super().handle_data(data)
