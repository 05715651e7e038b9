"""Turns data into pages: static files, links, templates, and how times, sizes and numbers are written."""

import gettext
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from naq_core import __version__, wording
from naq_core.names import is_new_id
from naq_core.record import JobState
from naq_dashboard import times
from naq_dashboard.languages import ENGLISH, Languages, spoken
from naq_dashboard.masking import Masker
from naq_dashboard.settings import DashboardSettings
from naq_dashboard.templating import environment_in
from naq_dashboard.times import moment
from naq_dashboard.words import WORDS, script_texts

__all__ = ["Asset", "Links", "Renderer", "assets", "moment"]

LONGEST = 100_000
"""Characters of one value on a page; what workers write of results and errors is far shorter."""
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NOTHING = "\N{EN DASH}"
LOG_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
TYPES = {  # the charset is added when they are sent
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}
STATE_ICONS = {
    "queued": "inbox",
    "held": "hourglass",
    "running": "loader",
    "retrying": "rotate-ccw",
    "succeeded": "circle-check",
    "dead": "circle-x",
    "cancelled": "ban",
    "expired": "timer-off",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file, held in memory: there are a dozen small ones."""

    data: bytes
    media_type: str
    version: str


@cache
def assets() -> dict[str, Asset]:
    """Return every static file by its path."""
    found: dict[str, Asset] = {}
    root = files("naq_dashboard") / "static"
    pending = [(root, "")]
    while pending:
        folder, prefix = pending.pop()
        for entry in folder.iterdir():
            path = f"{prefix}{entry.name}"
            suffix = entry.name.rpartition(".")[2]
            if entry.is_dir():
                pending.append((entry, f"{path}/"))
            elif suffix in TYPES:
                data = entry.read_bytes()
                found[path] = Asset(data, TYPES[suffix], hashlib.sha256(data).hexdigest()[:12])
    return found


def _scripts() -> Iterator[str]:
    """Yield the source of each script that is not vendored."""
    for path, asset in assets().items():
        if path.endswith(".js") and "/" not in path:
            yield asset.data.decode()


@dataclass(frozen=True, slots=True)
class Links:
    """Builds addresses: what the outer application or the proxy puts before each path, the path, each part quoted."""

    base: str

    def __call__(self, *parts: object, **query: Any) -> str:
        """Return the address of a page, such as `url("jobs", job_id, state="dead")`."""
        path = "/".join(quote(str(part), safe="") for part in parts)
        text = urlencode([(key, value) for key, value in query.items() if value not in (None, "", ())], doseq=True)
        return f"{self.base}/{path}{'?' if text else ''}{text}"

    @staticmethod
    def can_hold(name: str) -> bool:
        """Return whether a stored name, which anybody may have written, can be a part of a path to servers and browsers."""
        return name not in {"", ".", ".."} and "/" not in name

    def static(self, path: str) -> str:
        """Return the address of a static file; it changes with the file, so that browsers can cache it without limit."""
        return f"{self.base}/static/{path}?v={assets()[path].version}"


class Renderer:
    """The templates with everything they may use."""

    def __init__(self, settings: DashboardSettings, languages: Languages) -> None:
        self.masker = Masker(settings.masked_keys)
        self._settings = settings
        self._languages = languages
        self._environments: dict[str, jinja2.Environment] = {}

    def environment(self, language: str) -> jinja2.Environment:
        """Return the environment of the templates in a language."""
        made = self._environments.get(language)
        if made is None:
            made = self._environments[language] = self._make_environment(self._languages.catalogue(language))
        return made

    def _make_environment(self, catalogue: gettext.NullTranslations) -> jinja2.Environment:
        made = environment_in(catalogue, presentable)
        words = {word: catalogue.gettext(word) for word in WORDS}
        made.filters |= {
            "moment": moment,
            "clock": times.clock,
            "stamp": times.stamp,
            "duration": duration,
            "span": exact_span,
            "amount": amount,
            "size": size,
            "mask": self.masker,
            "word": lambda word: words.get(word, word),
            "quoted": lambda text: quote(str(text), safe=""),
        }
        made.globals |= {
            "settings": self._settings,
            "version": __version__,
            "state_icons": STATE_ICONS,
            "all_states": [each.value for each in JobState],
            "ago": ago,
            "now": lambda: datetime.now(UTC),
            "in_queue": in_queue,
            "sparkline": sparkline,
            "script_texts": script_texts(_scripts(), catalogue),
        }
        return made

    def page(self, template: str, context: Mapping[str, Any]) -> str:
        """Return a whole page."""
        with self._written_for(context) as environment:
            return environment.get_template(template).render(_with_macros(environment, context))

    def regions(self, template: str, context: Mapping[str, Any]) -> dict[str, str]:
        """Return the live regions of a page: the blocks whose names begin with `live_`, by the id of their element."""
        with self._written_for(context) as environment:
            loaded = environment.get_template(template)
            shared = loaded.new_context(_with_macros(environment, context))
            return {
                name.replace("_", "-"): "".join(block(shared)).strip()
                for name, block in loaded.blocks.items()
                if name.startswith("live_")
            }

    @contextmanager
    def _written_for(self, context: Mapping[str, Any]) -> Iterator[jinja2.Environment]:
        """Write in the language and the zone of a page until the block ends."""
        language = context.get("language", ENGLISH)
        with times.written_in(context.get("zone", times.UTC_NAME)), spoken(self._languages.catalogue(language)):
            yield self.environment(language)


def _with_macros(environment: jinja2.Environment, context: Mapping[str, Any]) -> dict[str, Any]:
    """Add the macros: a block that is rendered alone does not run its template's imports."""
    module = environment.get_template("_macros.html").make_module(dict(context))
    macros = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {**macros, **context}


def presentable(value: Any) -> Any:
    """Return a text without what a page must not hold: control characters, those that turn the direction of others, megabytes."""
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isprintable() and len(value) <= LONGEST):
        return value
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", value if len(value) <= LONGEST else f"{value[:LONGEST]}…")


def ago(value: datetime | float | None, empty: str = NOTHING) -> Markup:
    """Write an instant; the browser's script turns it into a distance from now; without it the time is shown."""
    return times.ago(moment(value), empty)


def duration(value: timedelta | float | None) -> str:
    """Write a length of time for people; a clock that went backwards makes it `0s`, never negative."""
    if value is None:
        return NOTHING
    return wording.span(value.total_seconds() if isinstance(value, timedelta) else value)


def amount(value: float | None) -> str:
    """Write a number with thin spaces between thousands."""
    if value is None:
        return NOTHING
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}".replace(",", "\u202f")
    return f"{int(value):,}".replace(",", "\u202f")


def exact_span(seconds: float | None) -> str:
    """Write a length of time as forms and settings read it; nothing for None."""
    return "" if seconds is None else wording.exact_span(seconds)


def size(count: float | None) -> str:
    """Write a number of bytes."""
    return NOTHING if count is None else wording.size(count)


def sparkline(values: Iterable[float], label: str, width: int = 96, height: int = 24) -> Markup:
    """Draw a small line of values as SVG."""
    points = list(values)
    top = max(points, default=0) or 1
    step = width / max(1, len(points) - 1)
    line = " ".join(f"{i * step:.1f},{height - 2 - value / top * (height - 4):.1f}" for i, value in enumerate(points))
    if len(points) < 2:
        return Markup('<span class="none">{}</span>').format(NOTHING)
    return Markup(
        '<svg class="sparkline" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">'
        '<polygon points="0,{h} {line} {w},{h}"/><polyline points="{line}"/></svg>'
    ).format(w=width, h=height, label=label, line=line)


def in_queue(job_id: str, queue: str) -> dict[str, str]:
    """Return what a link or button must name besides a job's id: its queue, unless NAQ made the id, which is then unique."""
    return {"queue": queue} if queue and not is_new_id(job_id) else {}
