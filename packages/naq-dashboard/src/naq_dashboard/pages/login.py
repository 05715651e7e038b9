"""Logging in and out."""

from typing import Any

from litestar import get, post
from litestar.datastructures import Cookie
from litestar.response import Response

from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.guard.login import COOKIE
from naq_dashboard.guard.peers import address_of
from naq_dashboard.pages.frame import frame, html_page, local_path
from naq_dashboard.pages.page import Query
from naq_dashboard.web import AnyRequest, links_of, state_of

__all__ = ["LOGIN"]


@get("/login", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def login_page(request: AnyRequest) -> Response[bytes]:
    """Ask for name and password."""
    return _login_page(request, request.query_params.get("next", ""))


@post("/login", include_in_schema=False, opt={"public": True, "anybody": True}, status_code=303)
async def log_in(request: AnyRequest) -> Response[bytes]:
    """Check name and password, and remember the login in a cookie."""
    state = state_of(request)
    form = await request.form()
    viewer = await state.login.check_password(
        str(form.get("name", "admin") or "admin"), str(form.get("password", "")), address_of(request)
    )
    if viewer is None:
        return _login_page(request, str(form.get("next", "")), "Wrong name or password.", 403)
    state.audit.logged(viewer, "log-in", address_of(request))
    links = links_of(request)
    response = Response(b"", status_code=303, headers={"Location": local_path(str(form.get("next", "")), links())})
    seconds = state.settings.session_hours * 3600
    response.set_cookie(_session_cookie(request, state.login.session(viewer, seconds), int(seconds)))
    return response


@post("/logout", include_in_schema=False, opt={"public": True, "anybody": True}, status_code=303)
async def log_out(request: AnyRequest) -> Response[bytes]:
    """Forget the login."""
    if viewer_of(request).by == "session":
        state_of(request).audit.logged(viewer_of(request), "log-out", address_of(request))
    response = Response(b"", status_code=303, headers={"Location": links_of(request)("login")})
    response.set_cookie(_session_cookie(request, "", 0))
    return response


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


def _login_page(request: AnyRequest, target: str, complaint: str = "", status: int = 200) -> Response[bytes]:
    state = state_of(request)
    context = frame(request, "login", Query((), viewer_of(request)))
    context |= {"title": "Log in", "complaint": complaint, "next": target}
    return html_page(request, state.renderer.page("login.html", context), status)


LOGIN: list[Any] = [login_page, log_in, log_out]
