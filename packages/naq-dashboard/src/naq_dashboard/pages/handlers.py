"""The handlers of pages, live streams, static files, logging in and out."""

import gzip
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from litestar import get, head, post
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Response, ServerSentEvent

from naq_core.errors import BrokerError
from naq_dashboard.actions.table import ActionResult
from naq_dashboard.guard.guard import COOKIE, address_of, viewer_of
from naq_dashboard.pages import BY_NAME, PAGES, Page
from naq_dashboard.pages.frame import NOTICE, error_page, frame, html_page, query_of
from naq_dashboard.pages.jobs import filter_of, terms_of
from naq_dashboard.pages.page import Query
from naq_dashboard.rendering.templates import assets
from naq_dashboard.web import AnyRequest, links_of, state_of


async def show(request: AnyRequest) -> Response[bytes]:
    """Answer with a page; while NATS is away, with its frame and the reason."""
    page: Page = request.route_handler.opt["page"]
    state, query = state_of(request), query_of(request)
    context = frame(request, page.name, query)
    context["stream"] = context["url"]("stream", page.name, **query.asdict())
    try:
        context |= await page.load(state, query)
    except BrokerError as error:
        context |= {"title": "No connection to NATS", "away": f"NATS does not answer: {error}"}
        # The overview is what load balancers and people ask first: it answers for the dashboard, not for NATS.
        return html_page(request, state.renderer.page("away.html", context), 200 if page.name == "overview" else 503)
    return html_page(request, state.renderer.page(page.template, context), context.get("status", 200))


def page_handler(page: Page) -> HTTPRouteHandler:
    """Return the handler of one page."""
    return get(f"/{page.path}", opt={"page": page}, include_in_schema=False, name=f"naq-dashboard-{page.name}")(show)


@head("/", include_in_schema=False, opt={"public": True})
async def ping() -> None:
    """Answer load balancers that ask with HEAD."""


@get("/stream/{page_name:str}", include_in_schema=False)
async def stream(request: AnyRequest, page_name: FromPath[str]) -> ServerSentEvent:
    """Send what changes on a page, as it changes."""
    state, query = state_of(request), query_of(request)
    page = BY_NAME.get(page_name)
    if page is None:
        raise NotFoundException(f"there is no page {page_name!r}")
    links = links_of(request)
    context = frame(request, page.name, query) | {"notice": ""}

    async def load() -> dict[str, str]:
        found = await page.load(state, query)
        # A stream may outlast the token's half day.
        fresh = {"csrf": state.signer.form_token(query.viewer.name)}
        return state.renderer.regions(page.template, context | found | fresh)

    state.feed.start()
    narrow = {name: query.get(name) for name in page.watches}
    frames = state.live.stream((page.name, query, links), load, **narrow)
    return ServerSentEvent(frames, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})


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


@get("/login", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def login_page(request: AnyRequest) -> Response[bytes]:
    """Ask for name and password."""
    return _login_page(request, request.query_params.get("next", ""))


@post("/login", include_in_schema=False, opt={"public": True, "anybody": True}, status_code=303)
async def log_in(request: AnyRequest) -> Response[bytes]:
    """Check name and password, and remember the login in a cookie."""
    state = state_of(request)
    form = await request.form()
    viewer = await state.guard.login(
        str(form.get("name", "admin") or "admin"), str(form.get("password", "")), address_of(request)
    )
    if viewer is None:
        return _login_page(request, str(form.get("next", "")), "Wrong name or password.", 403)
    state.audit.logged(viewer, "log-in", address_of(request))
    links = links_of(request)
    response = Response(b"", status_code=303, headers={"Location": _local(str(form.get("next", "")), links())})
    seconds = state.settings.session_hours * 3600
    response.set_cookie(_session_cookie(request, state.guard.session(viewer, seconds), int(seconds)))
    return response


@post("/logout", include_in_schema=False, opt={"public": True, "anybody": True}, status_code=303)
async def log_out(request: AnyRequest) -> Response[bytes]:
    """Forget the login."""
    if viewer_of(request).by == "session":
        state_of(request).audit.logged(viewer_of(request), "log-out", address_of(request))
    response = Response(b"", status_code=303, headers={"Location": links_of(request)("login")})
    response.set_cookie(_session_cookie(request, "", 0))
    return response


@post("/do/{verb:str}", include_in_schema=False, opt={"checks_action": True}, status_code=303)
async def do(request: AnyRequest, verb: FromPath[str]) -> Response[Any]:
    """Carry out what a form asks for; a script gets an answer, a plain form goes back to where it came from."""
    state, viewer = state_of(request), viewer_of(request)
    pairs = [(key, value) for key, value in (await request.form()).multi_items() if isinstance(value, str)]
    words = dict(pairs)
    links = links_of(request)
    if verb == "bulk":
        query = Query(tuple(pairs), viewer)
        wanted = words.get("verb", "")
        if words.get("scope") == "all":
            run = await state.operations.bulk(viewer, wanted, filter_of(query, state.now()))
            told = ActionResult(f"Under way: {wanted} all that match.")
            place = links("jobs", bulk=run.run_id, **terms_of(query))
        else:
            told = await state.operations.each(viewer, wanted, query.all("chosen"))
            place = ""
    elif verb == "stop-bulk":
        run = state.operations.runs.stop(viewer, words.get("run_id", ""))
        told = ActionResult("It had already ended." if run.ended_at else "It stops after the jobs in progress.")
        place = ""
    else:
        told = await state.operations.perform(viewer, verb, words)
        place = links(*told.place, queue=told.queue) if told.place else ""
    if "application/json" in request.headers.get("Accept", ""):
        return Response({"notice": told.notice, "location": place}, status_code=200)
    back = place or _local(_path_of(request.headers.get("Referer", "")), links())
    response: Response[Any] = Response(b"", status_code=303, headers={"Location": back})
    response.set_cookie(
        Cookie(key=NOTICE, value=quote(told.notice[:500]), path=f"{links.base}/", httponly=True, samesite="strict")
    )
    return response


@get("/{path:path}", include_in_schema=False)
async def nothing_here(request: AnyRequest, path: FromPath[str]) -> Response[bytes]:
    """Say that there is no such page."""
    return error_page(request, 404, "No such page", f"Nothing found at {path[:200]}.")


def _session_cookie(request: AnyRequest, value: str, seconds: int) -> Cookie:
    return Cookie(
        key=COOKIE,
        value=value,
        path=f"{links_of(request).base}/",
        max_age=seconds,
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
    )


def _local(target: str, home: str) -> str:
    """Return the target of a redirect if it is a path of the dashboard; others would make it an open redirect."""
    is_sound = target.isascii() and target.isprintable() and "\\" not in target
    return target if is_sound and target.startswith(home) and not target.startswith("//") else home


def _path_of(address: str) -> str:
    """Return the path and query of an address. The query names the queue of a job, or the filter of a list."""
    try:
        parts = urlsplit(address)
    except ValueError:  # such as `http://[`
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _login_page(request: AnyRequest, target: str, complaint: str = "", status: int = 200) -> Response[bytes]:
    state = state_of(request)
    context = frame(request, "login", Query((), viewer_of(request)))
    context |= {"title": "Log in", "complaint": complaint, "next": target}
    return html_page(request, state.renderer.page("login.html", context), status)


HANDLERS: list[Any] = [
    *(page_handler(page) for page in PAGES),
    ping,
    stream,
    static,
    favicon,
    login_page,
    log_in,
    log_out,
    do,
    nothing_here,
]
