"""The frame of every page: its user, links, and the notice of the last action."""

import gzip
from typing import Any
from urllib.parse import unquote

from litestar import MediaType
from litestar.response import Response

from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.pages import BY_NAME
from naq_dashboard.pages.page import Query
from naq_dashboard.state import AppState
from naq_dashboard.times import zone_name
from naq_dashboard.web import AnyRequest, home_links_of, links_of, state_of

__all__ = ["NOTICE", "ZONE", "asked_by", "error_page", "frame", "html_page", "local_path", "query_of", "zone_of"]

MOST, LONGEST = 100, 2000
"""Parameters that are looked at, and their characters; a topic of live updates is known by them."""
ZONE = "naq_dashboard_zone"
"""The cookie that keeps the zone in which a browser shows times."""
COMPRESSION = 5
"""Of a page of 85 KB it makes 7 KB in a millisecond."""
NOTICE = "naq_dashboard_notice"
"""The cookie that carries one sentence over a redirect."""


def query_of(request: AnyRequest) -> Query:
    """Return the question in the address: its query and what its path names."""
    asked = [(key, value) for key, value in request.query_params.multi_items() if len(value) <= LONGEST]
    named = [(key, str(value)) for key, value in request.path_params.items()]
    pairs = (*asked[:MOST], *named)
    return asked_by(request, pairs)


def asked_by(request: AnyRequest, pairs: tuple[tuple[str, str], ...] = ()) -> Query:
    """Return a question of who asks, with the zone and the language of their pages."""
    return Query(pairs, viewer_of(request), zone_of(request, dict(pairs).get("tz", "")), language_of(request))


def frame(request: AnyRequest, page: str, query: Query) -> dict[str, Any]:
    """Return what every template needs."""
    state = state_of(request)
    return {
        "page": page,
        "pages": BY_NAME.keys(),
        "url": links_of(request),
        "viewer": query.viewer,
        "may": query.viewer.may,
        "csrf": state.signer.form_token(query.viewer.name),
        "query": query.asdict(),
        "notice": unquote(request.cookies.get(NOTICE, "")[:1500]),
        "away": "",
        "zone": query.zone,
        "language": query.language,
        "stream": "",
        "broker_url": state.broker.url,
        "servers": _servers(request, state, page),
        "server": state.name,
    }


def _servers(request: AnyRequest, state: AppState, page: str) -> dict[str, str]:
    """Return where the same list is of each server, or the overview; nothing while there is only one."""
    path = BY_NAME[page].path.partition("/{")[0] if page in BY_NAME else ""
    home = home_links_of(request).base
    return {name: f"{home}{mount}/{path}" for name, mount in state.servers().items()}


def zone_of(request: AnyRequest, named: str) -> str:
    """Return the zone of the page's times: that of the address, else the one that was chosen in this browser, else UTC."""
    return zone_name(named.strip() or unquote(request.cookies.get(ZONE, "")))


def language_of(request: AnyRequest) -> str:
    """Return the language of the pages of who asks."""
    return state_of(request).languages.of(request.headers.get("Accept-Language", ""))


def html_page(request: AnyRequest, text: str, status: int = 200) -> Response[bytes]:
    """Return a page; a notice that it shows is not shown again."""
    varies = "Accept-Encoding, Accept-Language" if state_of(request).languages.follows_browser else "Accept-Encoding"
    response = Response(text.encode(), status_code=status, media_type=MediaType.HTML, headers={"Vary": varies})
    if may_compress(request):
        response.content = gzip.compress(response.content, COMPRESSION, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
    if NOTICE in request.cookies:
        response.delete_cookie(NOTICE, path=f"{links_of(request).base}/")
    return response


def may_compress(request: AnyRequest) -> bool:
    """Whether the answer may be compressed: not if another site has made the browser ask.

    How long a compressed page is would tell that site, if it can watch the line, parts of the secrets in it (BREACH).
    """
    is_ours = request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
    return is_ours and "gzip" in request.headers.get("Accept-Encoding", "")


def error_page(request: AnyRequest, status: int, title: str, detail: str) -> Response[bytes]:
    """Return a page that says what is wrong.

    Args:
        title: In English, from the catalogue.
        detail: The message of the error, as programs and the log have it: it stays in English, so that it can be looked up.
    """
    state, query = state_of(request), asked_by(request)
    context = frame(request, "error", query) | {
        "title": state.languages.catalogue(query.language).gettext(title),
        "status": status,
        "detail": detail,
    }
    return html_page(request, state.renderer.page("error.html", context), status)


def local_path(target: str, home: str) -> str:
    """Return the target of a redirect if it is a path of the dashboard; others would make it an open redirect."""
    is_sound = target.isascii() and target.isprintable() and "\\" not in target
    return target if is_sound and target.startswith(home) and not target.startswith("//") else home
