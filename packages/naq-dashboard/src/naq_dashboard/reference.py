"""The API's description: the document, the page made from it, and trying an operation from that page."""

import asyncio
from typing import Any

from litestar import get
from litestar.response import Response

from naq_dashboard.gate import base_of
from naq_dashboard.openapi import describe
from naq_dashboard.web import AnyRequest, board_of


@get("/api/openapi.json", include_in_schema=False)
async def document(request: AnyRequest) -> Response[dict[str, Any]]:
    """Return the description of the API."""
    found = await asyncio.to_thread(describe, base_of(request), needs_login=board_of(request).settings.needs_login)
    return Response(found, media_type="application/vnd.oai.openapi+json")


REFERENCE: list[Any] = [document]
