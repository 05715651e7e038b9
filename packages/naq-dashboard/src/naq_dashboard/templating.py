"""Templates in one language: those of Jinja, with its extension for gettext."""

import gettext
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

import jinja2
from jinja2.bccache import Bucket
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup

__all__ = ["environment_in"]

CALL = ("name", "lparen", "string")
FILTER = "filled"

_compiled: WeakKeyDictionary[gettext.NullTranslations, dict[tuple[str, str], CodeType]] = WeakKeyDictionary()
"""The templates that have been compiled in the language of a catalogue, by name and content."""


class _Ahead(Extension):
    """Translates `_("…")` when a template is compiled: no page has to do it again, and in English it costs nothing."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Replace `_("…")` by the translated text, and `_("…", name=…)` by `"…"|filled(name=…)`, which is far faster."""
        held: list[Token] = []
        for token in stream:
            held.append(token)
            if _is_start(held):
                continue
            if len(held) == len(CALL) + 1 and token.type in {"rparen", "comma"} and _is_start(held[:-1]):
                yield from self._translated(held[2], has_values=token.type == "comma")
                held = []
                continue
            last = [held.pop()] if len(held) > 1 and _is_start(held[-1:]) else []
            yield from held
            held = last
        yield from held

    def _translated(self, text: Token, *, has_values: bool) -> Iterator[Token]:
        found: str = self.environment.catalogue.gettext(text.value)  # type: ignore[attr-defined]
        yield Token(text.lineno, "string", found if has_values else found % {})
        if has_values:
            yield from (Token(text.lineno, *each) for each in (("pipe", "|"), ("name", FILTER), ("lparen", "(")))


def _is_start(tokens: list[Token]) -> bool:
    """Whether the tokens are `_("…"`, or the beginning of it."""
    return (
        len(tokens) <= len(CALL)
        and tokens[0].value == "_"
        and all(token.type == kind for token, kind in zip(tokens, CALL, strict=False))
    )


def _filled(text: str, **values: Any) -> str:
    """Return a text with its values; only where one is markup is the text markup too, as it is escaped otherwise."""
    if any(isinstance(each, Markup) for each in values.values()):
        return Markup(text) % values  # noqa: S704 - of a catalogue
    return text % values


class _Compiled(jinja2.BytecodeCache):
    """Compiles each template once in a language: that takes far longer than a page, and further servers have the same ones."""

    def __init__(self, catalogue: gettext.NullTranslations) -> None:
        self._codes = _compiled.setdefault(catalogue, {})

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take the code of a template that has been compiled before."""
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code


def environment_in(catalogue: gettext.NullTranslations, finalize: Callable[[Any], Any]) -> jinja2.Environment:
    """Return an environment whose templates are written in the language of a catalogue.

    As with Jinja's own extension, a percent sign of a text is written twice, `_("%(count)s of all", count=…)` escapes its values,
    and `{% trans %}` takes text with elements in it.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("naq_dashboard", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        bytecode_cache=_Compiled(catalogue),
    )
    made.extend(catalogue=catalogue)
    made.add_extension(_Ahead)
    made.filters[FILTER] = _filled
    made.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]  # of the extension
    made.policies["ext.i18n.trimmed"] = True
    return made
