"""Turns data into pages: the templates, and what they may use."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import jinja2

from naq_core import __version__
from naq_core.record import JobState
from naq_dashboard.masking import Masker
from naq_dashboard.rendering.formats import ago, amount, duration, exact_span, in_queue, moment, presentable, size, sparkline
from naq_dashboard.settings import DashboardSettings

__all__ = ["Renderer"]

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


class Renderer:
    """The templates with everything they may use."""

    def __init__(self, settings: DashboardSettings) -> None:
        self.masker = Masker(settings.masked_keys)
        self.environment = jinja2.Environment(
            loader=jinja2.PackageLoader("naq_dashboard", "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=presentable,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {
            "moment": moment,
            "duration": duration,
            "span": exact_span,
            "amount": amount,
            "size": size,
            "mask": self.masker,
            "quoted": lambda text: quote(str(text), safe=""),
        }
        self.environment.globals |= {
            "settings": settings,
            "version": __version__,
            "state_icons": STATE_ICONS,
            "all_states": [each.value for each in JobState],
            "ago": ago,
            "in_queue": in_queue,
            "sparkline": sparkline,
        }

    def page(self, template: str, context: Mapping[str, Any]) -> str:
        """Return a whole page."""
        return self.environment.get_template(template).render(self._with_macros(context))

    def regions(self, template: str, context: Mapping[str, Any]) -> dict[str, str]:
        """Return the live regions of a page: the blocks whose names begin with `live_`, by the id of their element."""
        loaded = self.environment.get_template(template)
        shared = loaded.new_context(self._with_macros(context))
        return {
            name.replace("_", "-"): "".join(block(shared)).strip()
            for name, block in loaded.blocks.items()
            if name.startswith("live_")
        }

    def _with_macros(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Add the macros: a block that is rendered alone does not run its template's imports."""
        module = self.environment.get_template("_macros.html").make_module(dict(context))
        macros = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        return {**macros, **context}
