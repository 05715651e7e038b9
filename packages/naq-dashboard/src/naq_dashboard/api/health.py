"""Whether the dashboard lives, and whether it can do its work."""

from typing import Any

from litestar import get, head
from litestar.response import Response

from naq_core.errors import BrokerError
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["HEALTH"]


@get("/api/health/live", tags=["health"], opt={"public": True}, sync_to_thread=False)
def health_live() -> dict[str, str]:
    """Answer as long as the process does: restarting it would not help against a server that is away."""
    return {"status": "ok"}


@get("/api/health/ready", tags=["health"], opt={"public": True})
async def health_ready(request: AnyRequest) -> Response[dict[str, Any]]:
    """Answer 200 while NATS and JetStream answer within two seconds, else 503 with the reason."""
    state = state_of(request)
    try:
        rtt = await state.round_trip()
    except BrokerError as error:
        return Response({"status": "away", "reason": type(error).__name__}, status_code=503)
    return Response({"status": "ok", "rtt_seconds": round(rtt, 6)})


@head("/api/health/live", include_in_schema=False, opt={"public": True})
async def head_live() -> None:
    """Answer load balancers that ask with HEAD."""


@head("/api/health/ready", include_in_schema=False, opt={"public": True})
async def head_ready(request: AnyRequest) -> Response[None]:
    """Answer load balancers that ask with HEAD."""
    try:
        await state_of(request).round_trip()
    except BrokerError:
        return Response(None, status_code=503)
    return Response(None)


HEALTH: list[Any] = [health_live, health_ready, head_live, head_ready]
