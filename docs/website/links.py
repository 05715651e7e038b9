"""Checks the built site: its links lead to pages and places of it, and no page loads anything from another host."""

import posixpath
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
"""Relations of a `<link>` that make a browser ask for its target."""


class _Page(HTMLParser):
    """Collects where a page links to, what it loads, and the places that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links, what is loaded, and ids."""
        values = dict(attrs)
        is_loaded = tag == "link" and not _LOADED.isdisjoint((values.get("rel") or "").split())
        self.loaded += [
            values[name] or "" for name in ("src", "srcset", "href") if name in values and (name != "href" or is_loaded)
        ]
        if "mermaid" in (values.get("class") or "").split():
            self.loaded.append("https://unpkg.com/mermaid")  # by the theme's script, which then draws it
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.places.add(value)
            elif value and (name in {"src", "srcset"} or (name == "href" and tag in {"a", "link"})):
                self.links.append(value)


def broken_links(site: Path) -> Iterator[str]:
    """Yield a line for each link that leads nowhere, and for each file that is loaded from another host."""
    pages: dict[str, _Page] = {}
    for path in site.rglob("*.html"):
        page = pages[path.relative_to(site).as_posix()] = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    for name, page in sorted(pages.items()):
        yield from (f"{name}: loads {each} from another host" for each in page.loaded if urlsplit(each).netloc)
        if name == "404.html":  # shown at any address, so its links begin at the root
            continue
        for link in sorted(set(page.links)):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path))) if parts.path else name
            target = "index.html" if target == "." else target
            place = unquote(parts.fragment)
            if not (site / target).is_file():
                yield f"{name}: {link} leads nowhere"
            elif place and target in pages and place not in pages[target].places and not place.startswith("__"):
                yield f"{name}: {link} leads to no place of that page"
