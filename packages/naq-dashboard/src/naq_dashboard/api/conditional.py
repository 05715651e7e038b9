"""Answers that are the same as before need not be sent again."""

import hashlib
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ConditionalGet"]


class ConditionalGet(ASGIMiddleware):
    """Gives JSON answers an `ETag`, and answers 304 if the client has that version already (`If-None-Match`)."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Hold the answer's start back until its body, which is one message, is known."""
        held: list[Any] = []

        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_json(message):
                held.append(message)
                return
            if held and message["type"] == "http.response.body":
                start = held.pop()
                if not message.get("more_body"):
                    start, message = _tagged(start, message, scope)
                await send(start)
            await send(message)

        await next_app(scope, receive, send_tagged if scope.get("method") == "GET" else send)


def _is_json(start: Any) -> bool:
    media_type: bytes = dict(start["headers"]).get(b"content-type", b"")
    return start["status"] == 200 and media_type.startswith(b"application/json")


def _tagged(start: Any, body: Any, scope: Scope) -> tuple[Any, Any]:
    tag = f'"{hashlib.sha256(body["body"]).hexdigest()[:20]}"'
    MutableScopeHeaders.from_message(start)["ETag"] = tag
    given = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"").decode("latin-1")
    if tag not in {each.strip().removeprefix("W/") for each in given.split(",")}:
        return start, body
    kept = [(name, value) for name, value in start["headers"] if name.lower() not in {b"content-length", b"content-type"}]
    return {**start, "status": 304, "headers": kept}, {**body, "body": b""}
