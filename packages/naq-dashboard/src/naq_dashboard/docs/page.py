"""The API's description: the document, the page made from it, and opening an operation from that page."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from litestar import get
from litestar.exceptions import ValidationException
from litestar.response import Response

from naq_dashboard.docs.model import Reference, Shown
from naq_dashboard.docs.openapi import describe
from naq_dashboard.guard.peers import base_of
from naq_dashboard.pages.frame import asked_by, frame, html_page
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["REFERENCE"]


@get("/api/openapi.json", include_in_schema=False)
async def document(request: AnyRequest) -> Response[dict[str, Any]]:
    """Return the description of the API in OpenAPI 3.1."""
    return Response(await _described(request), media_type="application/vnd.oai.openapi+json")


@get("/api", include_in_schema=False)
async def reference(request: AnyRequest) -> Response[bytes]:
    """Show the description as a page."""
    state = state_of(request)
    address = f"{request.scope['scheme']}://{request.headers.get('Host', 'localhost')}{base_of(request)}"
    shown = Reference(await _described(request), address, needs_login=state.settings.needs_login)
    context = frame(request, "api", asked_by(request))
    context |= {"title": "API", "reference": shown, "groups": shown.groups(), "schemas": shown.schemas(), "address": address}
    return html_page(request, state.renderer.page("api.html", context))


@get("/api/try", include_in_schema=False)
async def attempt(request: AnyRequest) -> Response[bytes]:
    """Lead to the operation that a form of the page asks for: a form cannot put a value into a path, nor leave empty ones out."""
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"))  # in their order, without the empty ones
    name = next((value for key, value in pairs if key == "_operation"), "")
    shown = Reference(await _described(request), "", needs_login=False)
    operation = next((each for group in shown.groups() for each in group.operations if each.name == name and each.can_try), None)
    if operation is None:
        raise ValidationException(f"unknown operation {name[:60]!r}")
    names = {each.name for each in operation.parameters if each.place == "query"}
    query = [(key, value) for key, value in pairs if key in names]
    address = f"{base_of(request)}{_filled(operation, dict(pairs))}{'?' if query else ''}{urlencode(query)}"
    return Response(b"", status_code=303, headers={"Location": address})


def _filled(operation: Shown, values: dict[str, str]) -> str:
    path = operation.path
    for each in operation.parameters:
        if each.place == "path":
            value = values.get(each.name, "").strip()
            if not value:
                raise ValidationException(f"{each.name} is missing")
            path = path.replace(f"{{{each.name}}}", quote(value, safe=""))
    return path


async def _described(request: AnyRequest) -> dict[str, Any]:
    # In a thread, as making it takes a moment the first time.
    settings = state_of(request).settings
    return await asyncio.to_thread(describe, base_of(request), needs_login=settings.needs_login)


REFERENCE: list[Any] = [document, reference, attempt]
