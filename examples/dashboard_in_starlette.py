"""The dashboard mounted in a Starlette application; in FastAPI it is the same line: `app.mount("/naq", dashboard)`."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from local import naq
from serving import ask, first_line, serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from naq_client import SyncQueue
from naq_dashboard import OPERATOR, Viewer, dashboard_app


def identify(connection: Any) -> Viewer | None:
    """Say who asks. What your middleware has found out is in the scope, such as `connection.scope["session"]`."""
    name = connection.cookies.get("user", "")
    return Viewer(name, OPERATOR, "host") if name else None


def make_app() -> Starlette:
    """Make the application. A mounted one is not told of its end, so the outer one closes the dashboard."""
    dashboard = dashboard_app(identify=identify)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await dashboard.state.naq_dashboard.aclose()

    def home(_: Request) -> PlainTextResponse:
        return PlainTextResponse("the shop")

    return Starlette(routes=[Route("/", home), Mount("/naq", dashboard)], lifespan=lifespan)


def main() -> None:
    """Serve it, and look at it as a browser would."""
    with SyncQueue() as queue:
        queue.enqueue("math:sqrt", 2).result(timeout=10)
    with serving(make_app()) as address:
        ann = {"Cookie": "user=ann"}
        print("the application's own page:", ask(address)[2])
        print("nobody:", ask(f"{address}/naq/")[0])
        status, _, page = ask(f"{address}/naq/queues", **ann)
        links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page))
        print("ann's page of queues:", status, "with the queue:", "/naq/queues/default" in links)
        print("all links below /naq:", all(link.startswith("/naq/") for link in links))
        print("its script:", ask(address + next(link for link in links if "app.js" in link))[0])
        print("its live updates:", first_line(f"{address}/naq/stream?page=queues", **ann))
        print("its API is described at:", re.findall(r'"servers":\[[^]]*\]', ask(f"{address}/naq/api/openapi.json", **ann)[2])[0])


if __name__ == "__main__":
    with naq():
        main()
