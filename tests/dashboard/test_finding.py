"""What the command palette is told."""

from naq_client import Queue, Workflow
from tests.conftest import RunWorker
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually


async def test_queues_are_found_by_a_part_of_their_name_and_a_job_by_its_id(dashboard: Client, queue: Queue) -> None:
    ids: list[str] = []
    for name in ("late-mail", "Mail-eu", "reports"):
        async with Queue(name, connection=await queue.connection()) as other:
            ids.append((await other.enqueue(work.add, 1, 1)).job_id)
            if name != "Mail-eu":
                await other.options(job_id="order-7").enqueue(work.add, 1, 1)

    async def are_found() -> None:
        mails = (await dashboard.get("/find?q=mail")).json()
        assert [each["href"] for each in mails] == ["/queues/Mail-eu", "/queues/late-mail"]
        assert mails[0]["hint"] == "1 queued"

    await eventually(are_found)
    jobs = (await dashboard.get("/find", params={"q": ids[-1]})).json()
    assert jobs == [{"kind": "Job", "name": ids[-1], "hint": "tests.integration.work:add queued", "href": f"/jobs/{ids[-1]}"}]
    placed = (await dashboard.get("/find", params={"q": "order-7@reports"})).json()
    assert [each["href"] for each in placed] == ["/jobs/order-7?queue=reports"]
    for nothing in ("", "order-7", "nothing-7", "a@b@c", "@", "..", "*", ">", "\x00", "<script>", "é" * 3000):
        assert (await dashboard.get("/find", params={"q": nothing})).json() == []


async def test_whatever_has_a_page_is_found_by_a_part_of_its_name(dashboard: Client, queue: Queue, run_worker: RunWorker) -> None:
    await queue.schedule(work.add, 1, schedule_id="nightly-report", cron="0 3 * * *")
    flow = Workflow("Nightly load", workflow_id="load-1")
    flow.add(queue.call(work.add, 1, 1))
    handle = await flow.enqueue(queue)
    async with run_worker(queue.name) as worker:
        await handle.wait(timeout=20)

        async def is_found() -> None:
            found = (await dashboard.get("/find", params={"q": worker.worker_id})).json()
            assert [(each["kind"], each["href"]) for each in found] == [("Worker", f"/workers/{worker.worker_id}")]

        await eventually(is_found)
    found = (await dashboard.get("/find?q=nightly")).json()
    assert [(each["kind"], each["name"], each["href"]) for each in found] == [
        ("Schedule", "nightly-report", "/schedules/nightly-report"),
        ("Workflow", "Nightly load", "/workflows/load-1"),
    ]

    async def function_is_found() -> None:
        functions = (await dashboard.get("/find?q=work:add")).json()
        assert [each["href"] for each in functions if each["kind"] == "Function"] == ["/functions/tests.integration.work%3Aadd"]

    await eventually(function_is_found)  # a worker tells its figures at its end


async def test_nobody_is_told_without_a_login(open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(password="pw") as client:
        assert (await client.get("/find?q=mail")).status_code == 401
