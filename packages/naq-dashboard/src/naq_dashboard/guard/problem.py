"""Answers for programs where something is wrong."""

from http import HTTPStatus
from typing import Any

from litestar.response import Response

__all__ = ["problem"]


def problem(status: int, detail: str, **more: Any) -> Response[Any]:
    """Return an answer in the form of RFC 9457.

    Args:
        more: Members besides those that every problem has.
    """
    body = {"type": "about:blank", "status": status, "title": HTTPStatus(status).phrase, "detail": detail} | more
    return Response(body, status_code=status, media_type="application/problem+json")
