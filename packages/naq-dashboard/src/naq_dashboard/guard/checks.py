"""What an unsafe request must show: that it comes from our own page, and that the viewer may do it."""

from typing import Any

from litestar.connection import ASGIConnection, Request
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler

from naq_dashboard.access.roles import VIEWER, Action, Viewer
from naq_dashboard.access.sessions import SessionSigner

__all__ = ["NOBODY", "SAFE_METHODS", "VIEWER_KEY", "check_action", "check_origin", "viewer_of"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
VIEWER_KEY = "naq_dashboard_viewer"
NOBODY = Viewer("", VIEWER)


def viewer_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Viewer:
    """Return who asks, as the guard has found out. A request that leads nowhere has not passed it: it is nobody's."""
    viewer: Viewer = connection.scope["state"].get(VIEWER_KEY, NOBODY)
    return viewer


def check_origin(request: Request[Any, Any, Any]) -> None:
    """Refuse what another site's page makes a browser send.

    Every browser of today says where a request comes from (`Sec-Fetch-Site`), and older ones send `Origin`. A program that
    sends neither and no cookie acts with credentials of its own.

    Raises:
        PermissionDeniedException: It comes from elsewhere, or does not say from where and has a cookie.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site in {"same-origin", "none"}:
            return
        raise PermissionDeniedException(f"this request comes from another site ({site})")
    origin = request.headers.get("Origin")
    if origin is not None:
        if origin.partition("://")[2] == request.headers.get("Host", ""):
            return
        raise PermissionDeniedException(f"this request comes from another site ({origin})")
    if request.headers.get("Cookie"):
        raise PermissionDeniedException("this request has a cookie but no Sec-Fetch-Site or Origin header")


async def check_action(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of every handler: an unsafe method needs an action that the viewer may do, and a browser's form its token.

    Raises:
        PermissionDeniedException: One of them is missing.
    """
    if connection.scope.get("method") in SAFE_METHODS or handler.opt.get("anybody"):
        return
    action: Action | None = handler.opt.get("action")
    viewer, state = viewer_of(connection), connection.app.state.naq_dashboard
    if action is not None:
        target = next((str(value) for value in connection.path_params.values()), "")
        state.audit.require(viewer, action, handler.opt.get("verb", str(action)), target)
    elif not handler.opt.get("checks_action"):
        raise PermissionDeniedException("no permission is defined for this action")
    await check_form_token(connection, viewer, state.signer)


async def check_form_token(connection: ASGIConnection[Any, Any, Any, Any], viewer: Viewer, signer: SessionSigner) -> None:
    """Refuse a browser's request that does not come from a page we made: the second lock beside `check_origin`.

    Raises:
        PermissionDeniedException: The token is missing or too old.
    """
    headers = connection.headers
    from_program = not any(name in headers for name in ("Sec-Fetch-Site", "Origin", "Cookie"))
    if viewer.by == "token" or from_program:
        return
    token = headers.get("X-CSRF-Token")
    if token is None and isinstance(connection, Request) and "form" in headers.get("Content-Type", ""):
        token = str((await connection.form()).get("_csrf_token", ""))
    if not token or not signer.is_form_token(viewer.name, token):
        raise PermissionDeniedException("this page has expired: reload it and try again")
