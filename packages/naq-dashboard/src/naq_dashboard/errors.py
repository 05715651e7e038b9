"""Answers to errors: a page for people, a problem document (RFC 9457) for programs."""

import logging
from http import HTTPStatus
from typing import Any

from litestar.exceptions import HTTPException
from litestar.response import Response
from litestar.types import ExceptionHandlersMap

from naq_core.errors import BrokerError, EncodeError, NaqError
from naq_core.layers import origin_of
from naq_dashboard.api.strict import query_names
from naq_dashboard.guard.guard import problem
from naq_dashboard.languages import N_
from naq_dashboard.pages.frame import error_page
from naq_dashboard.web import AnyRequest

__all__ = ["EXCEPTION_HANDLERS"]

log = logging.getLogger(__name__)


def _wants_page(request: AnyRequest) -> bool:
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return not path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def _http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer a request that is wrong, or leads nowhere."""
    faults = _faults(request, error)
    detail = "; ".join(f"{each['name']}: {each['detail']}" for each in faults) or error.detail
    if error.status_code == 404 and not error.extra and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"nothing found at {request.scope['path'][:200]}"
    if _wants_page(request):
        return error_page(request, error.status_code, _TITLES.get(error.status_code, N_("Error")), detail)
    response = problem(error.status_code, detail, **({"errors": faults} if faults else {}))
    response.headers.update(error.headers or {})
    return response


def _faults(request: AnyRequest, error: HTTPException) -> list[dict[str, str]]:
    """Return what Litestar found wrong, by parameter or field."""
    extra = [each for each in error.extra if isinstance(each, dict)] if isinstance(error.extra, list) else []
    names = query_names(request.route_handler) if extra else {}
    found = []
    for each in extra:
        name, source = str(each.get("key", "body")), each.get("source", "body")
        found.append(
            {"name": names.get(name, name), "in": str(getattr(source, "value", source)), "detail": str(each.get("message"))}
        )
    return found


def _naq_error(request: AnyRequest, error: NaqError) -> Response[Any]:
    """Answer with what naq_core refused: something not found, a wrong argument, an unreachable server, an impossible change."""
    match error:
        case LookupError():
            status = 404
        case ValueError() | EncodeError():
            status = 400
        case BrokerError():
            status = 503
        case _:
            status = 409
    if _wants_page(request):
        return error_page(request, status, _TITLES[status], str(error))
    return problem(status, str(error))


def _own_error(request: AnyRequest, error: Exception) -> Response[Any]:
    """Log an internal error, and answer without its details."""
    log.error("%s %r failed", request.method, request.url.path, exc_info=error)
    where = origin_of(error)
    text = f"Internal error{f', {where}' if where else ''}; see the dashboard's log."
    return error_page(request, 500, _TITLES[500], text) if _wants_page(request) else problem(500, text)


_TITLES = {
    400: N_("Bad request"),
    401: N_("Not logged in"),
    403: N_("Not allowed"),
    404: N_("Not found"),
    405: N_("Method not allowed"),
    409: N_("Not possible in this state"),
    429: N_("Too many attempts"),
    501: N_("Not installed"),
    500: N_("Internal error"),
    503: N_("NATS does not answer"),
}


EXCEPTION_HANDLERS: ExceptionHandlersMap = {HTTPException: _http_error, NaqError: _naq_error, Exception: _own_error}
