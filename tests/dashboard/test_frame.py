"""The first page, the promised paths, and what a dashboard says while NATS is away."""

import pytest

from naq_core.settings import Settings
from naq_dashboard.render import assets
from tests.conftest import RunWorker
from tests.dashboard.conftest import Client, OpenDashboard
from tests.support.eventually import eventually

NOBODY = "nats://127.0.0.1:9"


async def test_the_overview_shows_the_workers(dashboard: Client, run_worker: RunWorker) -> None:
    async with run_worker("mail", concurrency=3) as worker:

        async def shown() -> None:
            page = await dashboard.get("/")
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert worker.worker_id in page.text

        await eventually(shown)


async def test_the_workers_are_told_as_json(dashboard: Client, run_worker: RunWorker) -> None:
    async with run_worker("mail", "images", concurrency=3) as worker:

        async def told() -> None:
            answer = await dashboard.get("/api/workers")
            assert answer.status_code == 200
            workers = [(each["worker_id"], each["queues"], each["concurrency"]) for each in answer.json()]
            assert workers == [(worker.worker_id, ["mail", "images"], 3)]

        await eventually(told)


async def test_a_worker_has_its_page(dashboard: Client, run_worker: RunWorker) -> None:
    async with run_worker("mail") as worker:

        async def there() -> None:
            assert (await dashboard.get(f"/workers/{worker.worker_id}")).status_code == 200

        await eventually(there)
    gone = await dashboard.get("/workers/nobody", headers={"Accept": "text/html"})
    assert gone.status_code == 404
    assert "no running worker" in gone.text


async def test_health_is_good_while_nats_answers(dashboard: Client) -> None:
    assert (await dashboard.get("/api/health/live")).status_code == 200
    assert (await dashboard.get("/api/health/ready")).json()["status"] == "ok"
    assert (await dashboard.head("/")).status_code == 200


async def test_without_nats_it_is_alive_but_not_ready(open_dashboard: OpenDashboard, settings: Settings) -> None:
    away = Settings.load(nats_url=NOBODY, namespace=settings.namespace, publish_budget="0.5s")
    async with open_dashboard(away) as client:
        assert (await client.get("/api/health/live")).status_code == 200
        ready = await client.get("/api/health/ready")
        assert ready.status_code == 503
        overview = await client.get("/")
        assert overview.status_code == 200
        assert "NATS does not answer" in overview.text
        assert (await client.get("/workers")).status_code == 503
        workers = await client.get("/api/workers")
        assert (workers.status_code, workers.json(), workers.headers["NAQ-Stale"]) == (200, [], "true")


async def test_static_files_are_kept_for_ever_and_small(dashboard: Client) -> None:
    answer = await dashboard.get("/static/app.css")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    assert (await dashboard.get("/static/../settings.py")).status_code in {400, 404}
    assert sum(len(each.data) for path, each in assets().items() if not path.endswith(".txt")) < 170_000


async def test_nothing_is_at_other_paths(dashboard: Client) -> None:
    assert (await dashboard.get("/nothing/here")).status_code == 404


@pytest.mark.parametrize("path", ["/", "/workers", "/api/workers", "/static/app.css", "/login", "/nothing"])
async def test_every_answer_has_the_strict_headers(dashboard: Client, path: str) -> None:
    headers = (await dashboard.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
