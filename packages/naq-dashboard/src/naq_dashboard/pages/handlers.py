"""The handlers of pages, live streams, static files, logging in and out."""

import gzip
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from litestar import get, head
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Response, ServerSentEvent

from naq_core.errors import BrokerError
from naq_dashboard.access.roles import Viewer
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.languages import N_, _, spoken
from naq_dashboard.live.hub import Subscription
from naq_dashboard.pages import BY_NAME, PAGES, Page
from naq_dashboard.pages.finding import FINDING
from naq_dashboard.pages.forms import FORMS
from naq_dashboard.pages.frame import MOST, ZONE, asked_by, error_page, frame, html_page, local_path, query_of
from naq_dashboard.pages.login import LOGIN
from naq_dashboard.pages.stacks import STACKS
from naq_dashboard.render import assets
from naq_dashboard.times import zone_name
from naq_dashboard.web import AnyRequest, links_of, state_of

YEAR = 31_536_000
MOST_OPEN = 50
"""Pages that one stream keeps up to date at most: those that can be seen, so far fewer."""


async def show(request: AnyRequest) -> Response[bytes]:
    """Answer with a page; while NATS is away, with its frame and the reason."""
    page: Page = request.route_handler.opt["page"]
    state, query = state_of(request), query_of(request)
    context = frame(request, page.name, query)
    context["stream"] = f"{page.name}?{urlencode(query.asdict(), doseq=True)}"
    try:
        with spoken(state.languages.catalogue(query.language)):
            context |= await page.load(state, query)
    except BrokerError as error:
        with spoken(state.languages.catalogue(query.language)):
            context |= {"title": _("No connection to NATS"), "away": _("NATS does not answer: %(error)s") % {"error": error}}
        # The overview is what load balancers and people ask first: it answers for the dashboard, not for NATS.
        return html_page(request, state.renderer.page("away.html", context), 200 if page.name == "overview" else 503)
    return html_page(request, state.renderer.page(page.template, context), context.get("status", 200))


def page_handler(page: Page) -> HTTPRouteHandler:
    """Return the handler of one page."""
    return get(f"/{page.path}", opt={"page": page}, include_in_schema=False, name=f"naq-dashboard-{page.name}")(show)


@head("/", include_in_schema=False, opt={"public": True})
async def ping() -> None:
    """Answer load balancers that ask with HEAD."""


@get("/stream", include_in_schema=False)
async def stream(request: AnyRequest) -> ServerSentEvent:
    """Send what changes on the open pages of a browser, as it changes."""
    state, viewer = state_of(request), viewer_of(request)
    asked = {
        name: topic for name in request.query_params.getall("page", [])[:MOST_OPEN] if (topic := _topic(request, name, viewer))
    }
    if not asked:
        raise NotFoundException("name the pages to follow, such as ?page=overview")
    state.live.check_room(viewer.name, state.settings.streams_per_user)
    state.feed.start()
    session = state.login.read_session(request) if viewer.by == "session" else None
    may_go_on = (lambda: not state.ended.knows(session)) if session is not None else (lambda: True)
    frames = state.live.stream(list(asked.values()), viewer.name, may_go_on)
    return ServerSentEvent(frames, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})


def _topic(request: AnyRequest, name: str, viewer: Viewer) -> Subscription | None:
    """Return what keeps a page up to date, None if there is no such page (any more)."""
    state, links = state_of(request), links_of(request)
    page_name, _, text = name.partition("?")
    page = BY_NAME.get(page_name)
    if page is None:
        return None
    pairs = tuple(parse_qsl(text)[:MOST])
    query = asked_by(request, pairs)
    context = frame(request, page.name, query) | {"notice": ""}

    async def load() -> dict[str, str]:
        found = await page.load(state, query)
        # A stream may outlast the token's half day.
        fresh = {"csrf": state.signer.form_token(viewer.name)}
        return state.renderer.regions(page.template, context | found | fresh)

    narrow = {field: query.get(field) for field in page.watches}
    catalogue = state.languages.catalogue(query.language)
    return Subscription(page=name, key=(page.name, query, links), load=load, catalogue=catalogue, **narrow)


@get("/zone", include_in_schema=False)
async def zone(request: AnyRequest) -> Response[Any]:
    """Keep the zone in which this browser shows times, and go back."""
    links, name = links_of(request), zone_name(query_of(request).get("tz"))
    parts = urlsplit(request.headers.get("Referer", ""))
    rest = [(key, value) for key, value in parse_qsl(parts.query) if key != "tz"]
    back = local_path(f"{parts.path}?{urlencode([*rest, ('tz', name)])}", links())
    response: Response[Any] = Response(b"", status_code=303, headers={"Location": back})
    response.set_cookie(
        Cookie(key=ZONE, value=quote(name), path=f"{links.base}/", httponly=True, samesite="strict", max_age=YEAR)
    )
    return response


@get("/static/{path:path}", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def static(request: AnyRequest, path: FromPath[str]) -> Response[bytes]:
    """Answer with a static file; its address changes with it."""
    asset = assets().get(path.lstrip("/"))
    if asset is None:
        raise NotFoundException(f"no such file: {path}")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "ETag": f'"{asset.version}"', "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return Response(
            _compressed(path.lstrip("/")), media_type=asset.media_type, headers=headers | {"Content-Encoding": "gzip"}
        )
    return Response(asset.data, media_type=asset.media_type, headers=headers)


@cache
def _compressed(path: str) -> bytes:
    return gzip.compress(assets()[path].data, 9, mtime=0)


@get("/favicon.ico", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def favicon() -> Response[bytes]:
    """Answer browsers that ask for the icon where they always have."""
    return Response(assets()["icon.svg"].data, media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})


@get("/{path:path}", include_in_schema=False)
async def nothing_here(request: AnyRequest, path: FromPath[str]) -> Response[bytes]:
    """Say that there is no such page."""
    return error_page(request, 404, N_("No such page"), f"Nothing found at {path[:200]}.")


HANDLERS: list[Any] = [
    *(page_handler(page) for page in PAGES),
    ping,
    stream,
    zone,
    static,
    favicon,
    *FINDING,
    *LOGIN,
    *FORMS,
    *STACKS,
    nothing_here,
]
