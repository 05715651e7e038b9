"""Logging in and out."""

from typing import Any

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException
from litestar.response import Response

from naq_core.audit import Actor
from naq_dashboard.access.roles import Viewer
from naq_dashboard.access.sessions import BrowserSession, new_session
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.guard.login import COOKIE
from naq_dashboard.guard.peers import address_of
from naq_dashboard.languages import Sentence, said, spoken
from naq_dashboard.pages.frame import asked_by, frame, html_page, local_path
from naq_dashboard.state import AppState
from naq_dashboard.web import AnyRequest, home_links_of, state_of

__all__ = ["LOGIN"]

FLOW_COOKIE = "naq_dashboard_oidc"
"""What has to come back from the identity provider to this browser."""
FLOW_SECONDS = 600


def _home(request: AnyRequest) -> AppState:
    """Return the state of the dashboard's own server: a login holds for all that it shows, and so does logging out."""
    return state_of(request).home


@get("/login", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def login_page(request: AnyRequest) -> Response[bytes]:
    """Ask for name and password."""
    return _login_page(request, request.query_params.get("next", ""))


@post("/login", include_in_schema=False, opt={"public": True, "anybody": True}, status_code=303)
async def log_in(request: AnyRequest) -> Response[bytes]:
    """Check name and password, and remember the login in a cookie."""
    state = _home(request)
    form = await request.form()
    viewer = await state.login.check_password(
        str(form.get("name", "admin") or "admin"), str(form.get("password", "")), address_of(request)
    )
    if viewer is None:
        return _login_page(request, str(form.get("next", "")), said("Wrong name or password."), 403)
    state.audit.logged(viewer, "log-in", address_of(request))
    links = home_links_of(request)
    response = Response(b"", status_code=303, headers={"Location": local_path(str(form.get("next", "")), links())})
    _begin_session(request, response, new_session(viewer.name, state.settings.session_hours * 3600))
    return response


@get("/login/oidc", include_in_schema=False, opt={"public": True}, status_code=303)
async def log_in_elsewhere(request: AnyRequest) -> Response[bytes]:
    """Send somebody to the identity provider."""
    state, target = _home(request), request.query_params.get("next", "")
    if state.login.provider is None:
        raise NotFoundException("no identity provider is configured: NAQ_DASHBOARD_OIDC_ISSUER")
    try:
        address, kept = await state.login.provider.begin(_redirect(request), target)
    except Exception as error:  # noqa: BLE001 - its type is that of an extra
        return _told(request, error, target)
    response = Response(b"", status_code=303, headers={"Location": address})
    response.set_cookie(_cookie(request, FLOW_COOKIE, kept, FLOW_SECONDS))
    return response


@get("/login/callback", include_in_schema=False, opt={"public": True}, status_code=303)
async def come_back(request: AnyRequest) -> Response[bytes]:
    """Log somebody in whom the identity provider sends back."""
    state, settings = _home(request), _home(request).settings
    if state.login.provider is None:
        raise NotFoundException("no identity provider is configured: NAQ_DASHBOARD_OIDC_ISSUER")
    kept = request.cookies.get(FLOW_COOKIE, "")
    try:
        user, target = await state.login.provider.finish(_redirect(request), kept, dict(request.query_params))
    except Exception as error:  # noqa: BLE001 - its type is that of an extra
        return _told(request, error, "")
    access = settings.access_of_oidc_user(user.name, user.groups)
    if access is None:
        state.audit.refused(Actor(user.name, "oidc"), "log-in", "", "no role is given to this user", address_of(request))
        return _login_page(request, target, said("%(user)s is not allowed to see this dashboard.", user=user.name), 403)
    state.audit.logged(Viewer(user.name, access, "oidc"), "log-in", address_of(request))
    response = Response(b"", status_code=303, headers={"Location": local_path(target, home_links_of(request)())})
    _begin_session(request, response, new_session(user.name, settings.session_hours * 3600, "oidc", user.groups))
    response.set_cookie(_cookie(request, FLOW_COOKIE, "", 0))
    return response


def _told(request: AnyRequest, error: Exception, target: str) -> Response[bytes]:
    """Answer with why somebody could not be logged in.

    Raises:
        Exception: The error, if it is no answer of the provider.
    """
    is_theirs: bool | None = getattr(error, "is_theirs", None)
    if is_theirs is None:
        raise error
    if not is_theirs:
        _home(request).audit.refused(Actor("", "oidc"), "log-in", "", str(error), address_of(request))
    return _login_page(request, target, str(error), 502 if is_theirs else 403)


def _redirect(request: AnyRequest) -> str:
    """Return where the provider sends people back to, as they see it."""
    return f"{request.url.scheme}://{request.headers.get('Host', '')}{home_links_of(request)('login', 'callback')}"


@post("/logout", include_in_schema=False, opt={"public": True, "anybody": True}, status_code=303)
async def log_out(request: AnyRequest) -> Response[bytes]:
    """End the session: its cookie is worth nothing any more, wherever a copy of it may be."""
    state = _home(request)
    session = state.login.read_session(request)
    if viewer_of(request).by == "session" and session is not None:
        state.ended.end(session)
        state.audit.logged(viewer_of(request), "log-out", address_of(request), session.mark)
    response = Response(b"", status_code=303, headers={"Location": home_links_of(request)("login")})
    response.set_cookie(_cookie(request, COOKIE, "", 0))
    return response


def _begin_session(request: AnyRequest, response: Response[bytes], session: BrowserSession) -> None:
    seconds = int(_home(request).settings.session_hours * 3600)
    response.set_cookie(_cookie(request, COOKIE, _home(request).login.session(session), seconds))


def _cookie(request: AnyRequest, name: str, value: str, seconds: int) -> Cookie:
    return Cookie(
        key=name,
        value=value,
        path=f"{home_links_of(request).base}/",
        max_age=seconds,
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
    )


def _login_page(request: AnyRequest, target: str, complaint: Sentence | str = "", status: int = 200) -> Response[bytes]:
    state, query = _home(request), asked_by(request)
    with spoken(state.languages.catalogue(query.language)):
        told = complaint.here() if isinstance(complaint, Sentence) else complaint
    context = frame(request, "login", query) | {"title": "", "complaint": told, "next": target}
    return html_page(request, state.renderer.page("login.html", context), status)


LOGIN: list[Any] = [login_page, log_in, log_in_elsewhere, come_back, log_out]
