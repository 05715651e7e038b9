"""What the dashboard does with one worker: another size, and a look at what it is doing."""

from naq_client import Queue
from naq_dashboard import OPERATOR, VIEWER, User
from tests.conftest import RunWorker
from tests.dashboard.conftest import Client, OpenDashboard
from tests.dashboard.test_actions import BROWSER, token_of
from tests.support.eventually import eventually

USERS = (User(name="olga", access=OPERATOR, password="pw"), User(name="vera", access=VIEWER, password="pw"))


async def test_a_worker_is_resized_and_says_what_it_is_doing(dashboard: Client, queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker() as worker:
        await eventually(lambda: worker.is_ready)
        path = f"/api/workers/{worker.worker_id}"
        answer = await dashboard.post(f"{path}/resize", json={"concurrency": 3})
        assert answer.json() == {"notice": "The worker runs 3 jobs at a time, until it is restarted."}
        assert (await dashboard.post(f"{path}/resize", json={})).status_code == 400
        assert (await dashboard.post(f"{path}/resize", json={"concurrency": 0})).status_code == 400
        assert "_read_loop" in (await dashboard.post(f"{path}/stack")).json()["stacks"]
        page = (await dashboard.get(f"/workers/{worker.worker_id}", headers={"Accept": "text/html"})).text
        assert 'name="concurrency"' in page
        assert f"/workers/{worker.worker_id}/stack" in page
        form = {"_csrf_token": await token_of(dashboard)}
        looked = await dashboard.post(f"/workers/{worker.worker_id}/stack", data=form, headers=BROWSER | {"Accept": "text/html"})
        assert looked.status_code == 200
        assert "_read_loop" in looked.text
        forged = await dashboard.post(f"/workers/{worker.worker_id}/stack", data={}, headers=BROWSER)
        assert forged.status_code == 403
        noted = (await dashboard.get("/api/audit")).json()["entries"]
    assert [(each["action"], each["outcome"]) for each in noted].count(("stack-worker", "done")) == 2
    assert any(each["action"] == "resize-worker" and each["details"].get("concurrency") == "3" for each in noted)
    assert (await dashboard.post("/api/workers/nobody/stack")).status_code == 404


async def test_viewers_may_do_neither(open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(users=USERS) as client:
        for name, status in (("vera", 403), ("olga", 404)):
            for verb in ("resize", "stack"):
                answer = await client.post(f"/api/workers/nobody/{verb}", json={"concurrency": 2}, auth=(name, "pw"))
                assert answer.status_code == status
