"""The dashboard as part of a Litestar application, whose users it takes over."""

import re
from typing import Any

from litestar import Litestar, get
from local import naq
from serving import ask, first_line, serving

from naq_client import SyncQueue
from naq_dashboard import ADMIN, VIEWER, NaqDashboardPlugin, Viewer

USERS = {"ann": ADMIN, "ben": VIEWER}


def identify(connection: Any) -> Viewer | None:
    """Say who asks: your application knows. This one believes a header; yours looks at its session or `connection.user`."""
    name = connection.headers.get("X-User", "")
    return Viewer(name, USERS[name], "host") if name in USERS else None


@get("/", sync_to_thread=False)
def home() -> str:
    """Answer as the application did before."""
    return "the shop"


def make_app() -> Litestar:
    """Make the application; the plugin also closes the dashboard's connection at its end."""
    return Litestar([home], plugins=[NaqDashboardPlugin(path="/ops/naq", identify=identify)])


def main() -> None:
    """Serve it, and look at it as a browser would."""
    with SyncQueue() as queue:
        job = queue.enqueue("math:sqrt", 2)
        job.result(timeout=10)
    with serving(make_app()) as address:
        print("the application's own page:", ask(address)[2])
        print("nobody:", ask(f"{address}/ops/naq/jobs")[0])
        status, _, page = ask(f"{address}/ops/naq/jobs", **{"X-User": "ann"})
        links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page))
        print("ann's page of jobs:", status, "with the job:", job.job_id in page)
        print("all links below /ops/naq:", all(link.startswith("/ops/naq/") for link in links))
        style = next(link for link in links if "app.css" in link)
        status, headers, _ = ask(f"{address}{style}")
        print("its style sheet:", status, headers["Content-Type"], headers["Cache-Control"])
        print("its live updates:", first_line(f"{address}/ops/naq/stream?page=jobs", **{"X-User": "ann"}))
        for name in ("ann", "ben"):
            page = ask(f"{address}/ops/naq/jobs/{job.job_id}", **{"X-User": name})[2]
            print(f"{name} may delete it:", "Delete this job" in page)
        print("the application's document is its own:", "/ops" not in ask(f"{address}/schema/openapi.json")[2])


if __name__ == "__main__":
    with naq():
        main()
