"""Everything that the dashboard says is in the catalogue of its texts, so that it can be translated."""

import ast
import re
from pathlib import Path

import pytest

from naq_core.errors import ConfigurationError
from naq_dashboard import DashboardSettings
from naq_dashboard.languages import Languages, said, said_of, spoken
from tests.messages import CATALOGUE, KEYWORDS, PACKAGE, written
from tests.support.pseudo import LANGUAGE, write_catalogue
from tests.support.untranslated import untranslated

TEMPLATES = sorted(PACKAGE.glob("templates/*.html"))
SCRIPTS = sorted(PACKAGE.glob("static/*.js"))
MODULES = sorted(PACKAGE.rglob("*.py"))
STYLES = frozenset(re.findall(r"\.([a-z][\w-]*)", (PACKAGE / "static" / "app.css").read_text(encoding="utf-8")))
COMMENT = re.compile(r"^\s*//.*$|\s//\s.*$|/\*.*?\*/", re.MULTILINE)
STRING = re.compile(r'(?P<marked>\b_\()?(?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)')
PROSE = re.compile(r"^[A-Z][a-z]+\b|^[a-z]+ [a-z]+ [a-z]+|[a-z]{2,}[.:!?] |[a-z] \ufffc|\ufffc [a-z]{2}")
CODE = re.compile(r"[\[<#.(=]")
KEYS = {"Enter"}


def test_the_catalogue_is_as_the_code_has_it() -> None:
    assert CATALOGUE.read_text(encoding="utf-8") == written(), "run: hatch run messages"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_text_outside_the_catalogue(template: Path) -> None:
    found = list(untranslated(template.read_text(encoding="utf-8"), STYLES))
    assert not found, 'write {{ _("Text") }}, or {% trans %} around a text with elements in it'


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_no_text_outside_the_catalogue(script: Path) -> None:
    source = COMMENT.sub("", script.read_text(encoding="utf-8"))
    texts = [(each["marked"], re.sub(r"\$\{[^}]*\}", "\ufffc", each["text"][1:-1])) for each in STRING.finditer(source)]
    found = [text for marked, text in texts if not marked and PROSE.search(text) and not CODE.search(text)]
    assert set(found) <= KEYS, 'write _("Text"), or _("Text of %s", value)'


def test_what_is_marked_can_be_collected() -> None:
    """A text that is put together before it is marked is not in the catalogue."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
                assert not any(isinstance(each, ast.JoinedStr | ast.BinOp) for each in node.args), f"{path.name}:{node.lineno}"


def test_a_sentence_is_english_for_programs_and_translated_for_people(tmp_path: Path) -> None:
    write_catalogue(CATALOGUE, tmp_path)
    catalogue = Languages(LANGUAGE, str(tmp_path)).catalogue(LANGUAGE)
    told = said(
        "Stopped after %(jobs)s: %(error)s", jobs=said_of(2, "%(count)s job deleted", "%(count)s jobs deleted"), error="x"
    )
    with spoken(catalogue):
        assert told.here() == "⟦Stopped after ⟦2 jobs deleted⟧: x⟧"
    assert str(told) == told.here() == "Stopped after 2 jobs deleted: x"


def test_a_language_without_a_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no catalogue of 'tlh'; use one of browser, en"):
        DashboardSettings(language="tlh")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        DashboardSettings(translations=str(tmp_path / "nothing"))
    broken = tmp_path / "tlh" / "LC_MESSAGES" / "naq_dashboard.mo"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"broken")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        DashboardSettings(translations=str(tmp_path))
