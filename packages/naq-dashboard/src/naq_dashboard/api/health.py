"""Whether the dashboard lives, and whether it can do its work."""

from typing import Any

from litestar import get
from litestar.response import Response

from naq_core.errors import BrokerError
from naq_dashboard.web import AnyRequest, board_of

__all__ = ["health_live", "health_ready"]


@get("/api/health/live", tags=["health"], opt={"public": True}, sync_to_thread=False)
def health_live() -> dict[str, str]:
    """Answer as long as the process does: restarting it would not help against a server that is away."""
    return {"status": "ok"}


@get("/api/health/ready", tags=["health"], opt={"public": True})
async def health_ready(request: AnyRequest) -> Response[dict[str, Any]]:
    """Answer 200 while NATS and JetStream answer within two seconds, else 503 with the reason."""
    board = board_of(request)
    try:
        rtt = await board.round_trip()
    except BrokerError as error:
        return Response({"status": "away", "reason": type(error).__name__}, status_code=503)
    return Response({"status": "ok", "rtt_seconds": round(rtt, 6)})
