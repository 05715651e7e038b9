"""In which language a page is written: English, as it stands in the code, or another one, from a catalogue of gettext.

Text is marked where it stands: `_("…")` and `ngettext(…)` in templates and in what is made while a page is loaded, `N_("…")` in
tables, `said("…")` for sentences that are also kept or sent to programs. `hatch run messages` collects all of it.
"""

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from naq_core.errors import ConfigurationError

__all__ = [
    "BROWSER",
    "DOMAIN",
    "ENGLISH",
    "ENGLISH_TEXTS",
    "N_",
    "Languages",
    "N_forms",
    "Sentence",
    "_",
    "ngettext",
    "said",
    "said_of",
    "spoken",
]

PREFIX = "NAQ_DASHBOARD_"
DOMAIN = "naq_dashboard"
"""The name of the files of a catalogue: `de/LC_MESSAGES/naq_dashboard.mo`."""
ENGLISH = "en"
ENGLISH_TEXTS = gettext.NullTranslations()
BROWSER = "browser"
"""As the setting: the first language that the browser wants and for which there is a catalogue."""
MOST_WANTED = 20
"""Languages of a browser that are looked at."""

_current: ContextVar[gettext.NullTranslations] = ContextVar("naq_dashboard_language", default=ENGLISH_TEXTS)


def _(text: str) -> str:
    """Return a text in the language of the page that is being made; for literals only, as others are not in the catalogue."""
    return _current.get().gettext(text)


def ngettext(one: str, many: str, count: int) -> str:
    """Return the form of a text that fits a number, as `_`."""
    return _current.get().ngettext(one, many, count)


def N_(text: str) -> str:  # noqa: N802 - the usual name
    """Return the text itself: marks one in a table, for `_` to translate later."""
    return text


def N_forms(one: str, many: str) -> tuple[str, str]:  # noqa: N802 - as `N_`
    """Return both forms of a text: marks them in a table, for `ngettext` or `said_of`."""
    return one, many


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with its values: programs and the audit trail get it in English, a page in its own language."""

    forms: tuple[str, ...]
    """The text, or one for the number 1 and one for all others; `%(name)s` stands for a value."""
    values: dict[str, Any]
    count: int = 1

    def __str__(self) -> str:
        """Return it in English."""
        return self.forms[0 if self.count == 1 else -1] % self.values

    def here(self) -> str:
        """Return it in the language of the page that is being made."""
        values = {name: each.here() if isinstance(each, Sentence) else each for name, each in self.values.items()}
        return (_(self.forms[0]) if len(self.forms) == 1 else ngettext(self.forms[0], self.forms[1], self.count)) % values


def said(text: str, /, **values: Any) -> Sentence:
    """Return a sentence.

    Args:
        text: With `%(name)s` for each value.
        values: What is filled in; sentences among them are translated too.
    """
    return Sentence((text,), values)


def said_of(count: int, one: str, many: str, /, **values: Any) -> Sentence:
    """Return a sentence that depends on a number, which is `%(count)s` in it.

    Args:
        count: The number.
        one: The sentence for 1.
        many: The sentence for every other number.
        values: As for `said`.
    """
    return Sentence((one, many), {"count": f"{count:,}", **values}, count)


@contextmanager
def spoken(catalogue: gettext.NullTranslations) -> Iterator[None]:
    """Let `_` and `ngettext` return texts of this catalogue until the block ends."""
    token = _current.set(catalogue)
    try:
        yield
    finally:
        _current.reset(token)


class Languages:
    """The catalogues that there are, and which of them a page is written in.

    Args:
        chosen: The name of a language, or `browser`.
        folder: Where more catalogues are than those that came with the package; empty for none.

    Raises:
        ConfigurationError: There is no catalogue of the chosen language, or one cannot be read.
    """

    def __init__(self, chosen: str = ENGLISH, folder: str = "") -> None:
        self._chosen = chosen
        self._catalogues: dict[str, gettext.NullTranslations] = {ENGLISH: ENGLISH_TEXTS}
        for place in (str(files(DOMAIN) / "locale"), folder):
            self._read(place)
        if chosen not in (BROWSER, *self._catalogues):
            known = ", ".join((BROWSER, *self._catalogues))
            raise ConfigurationError("language", f"there is no catalogue of {chosen!r}; use one of {known}", f"{PREFIX}LANGUAGE")

    def _read(self, folder: str) -> None:
        if folder and not Path(folder).is_dir():
            raise ConfigurationError("translations", f"{folder} is not a folder", f"{PREFIX}TRANSLATIONS")
        for path in sorted(Path(folder).glob(f"*/LC_MESSAGES/{DOMAIN}.mo")) if folder else ():
            try:
                with path.open("rb") as file:
                    self._catalogues[path.parts[-3].replace("_", "-")] = gettext.GNUTranslations(file)
            except (OSError, ValueError, LookupError) as error:
                raise ConfigurationError("translations", f"{path} cannot be read: {error}", f"{PREFIX}TRANSLATIONS") from error

    @property
    def follows_browser(self) -> bool:
        """Whether the language depends on who asks."""
        return self._chosen == BROWSER

    def of(self, wanted: str) -> str:
        """Return the name of the language to write in.

        Args:
            wanted: What the browser sends as `Accept-Language`, such as `de-AT,de;q=0.9,en;q=0.5`.
        """
        if not self.follows_browser:
            return self._chosen
        known = {name.lower(): name for name in self._catalogues}
        for name in _in_order(wanted):
            found = known.get(name) or known.get(name.partition("-")[0])
            if found:
                return found
        return ENGLISH

    def catalogue(self, name: str) -> gettext.NullTranslations:
        """Return the catalogue of a language that `of` has returned."""
        return self._catalogues[name]


def _in_order(wanted: str) -> list[str]:
    """Return the names of languages in lower case, the most wanted first."""
    found: list[tuple[float, str]] = []
    for each in wanted.split(",")[:MOST_WANTED]:
        name, __, weight = each.partition(";")
        try:
            share = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if share > 0:
            found.append((-share, name.strip().lower()))
    return [name for _, name in sorted(found, key=lambda each: each[0])]
