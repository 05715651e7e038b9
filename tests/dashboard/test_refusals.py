"""What anybody can make the dashboard refuse: it is slowed down, and neither log nor audit trail fills up with it."""

from __future__ import annotations

import asyncio
import logging
import time

import httpx
import pytest

from naq_client import Queue
from naq_core.audit import read_trail
from naq_core.settings import Settings
from naq_core.views import AuditEntry
from naq_dashboard import VIEWER, DashboardSettings, User, create_app
from naq_dashboard.access.passwords import hash_password
from naq_dashboard.actions.refusals import MOST_KINDS
from naq_dashboard.guard.guesses import MOST_FAILURES
from tests.dashboard.conftest import Client, OpenDashboard
from tests.support.eventually import eventually

TOKEN = "full-token-of-a-program"
VERA = User(name="vera", access=VIEWER, password="pw")
GOOD = {"Authorization": f"Bearer {TOKEN}"}
BASIC = {"Authorization": "Basic dmVyYTpwdw=="}
SAME = {"Sec-Fetch-Site": "same-origin"}


def wrong(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer guess-{number}"}


async def statuses(client: Client, count: int, path: str = "/api/queues") -> list[int]:
    answers = await asyncio.gather(*(client.get(path, headers=wrong(number)) for number in range(count)))
    return [each.status_code for each in answers]


async def refusals(queue: Queue) -> list[AuditEntry]:
    return (await read_trail(await queue.connection(), limit=500)).entries


def counted(entries: list[AuditEntry]) -> int:
    return sum(int(each.details.get("count", 1)) for each in entries)


class TestTokens:
    async def test_guessing_is_slowed_down(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token=TOKEN) as client:
            began = time.monotonic()
            found = await statuses(client, 50)
            more = int(time.monotonic() - began)  # one may be tried each second
            assert MOST_FAILURES <= found.count(401) <= MOST_FAILURES + more
            assert found.count(401) + found.count(429) == 50
            late = await client.get("/api/queues", headers=wrong(0))
            if late.status_code == 429:  # else the second is over by now
                assert late.headers["retry-after"] == "1"

    async def test_the_right_one_is_not_found_out_by_a_fast_guesser(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token=TOKEN) as client:
            guesses = [client.get("/api/queues", headers=wrong(number)) for number in range(MOST_FAILURES)]
            answers = await asyncio.gather(*guesses, *(client.get("/api/queues", headers=GOOD) for _ in range(3)))
            assert [each.status_code for each in answers[MOST_FAILURES:]] == [429] * 3

    async def test_the_right_one_comes_in_again_soon(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token=TOKEN) as client:
            await statuses(client, 50)

            async def comes_in() -> None:
                assert (await client.get("/api/queues", headers=GOOD)).status_code == 200

            await eventually(comes_in)

    async def test_who_was_right_before_is_not_kept_out_by_others(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token=TOKEN, password=hash_password("pw")) as client:
            assert (await client.get("/api/queues", headers=GOOD)).status_code == 200
            assert (await client.get("/api/queues", auth=("admin", "pw"))).status_code == 200
            await statuses(client, 30)
            form = {"name": "admin", "password": "guess"}
            await asyncio.gather(*(client.post("/login", data=form, headers=SAME) for _ in range(12)))
            assert (await client.get("/api/queues", headers=GOOD)).status_code == 200
            assert (await client.get("/api/queues", auth=("admin", "pw"))).status_code == 200

    async def test_tokens_do_not_lock_out_people(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token=TOKEN, password="pw") as client:
            await statuses(client, 30)
            form = {"name": "admin", "password": "pw"}
            assert (await client.post("/login", data=form, headers=SAME, follow_redirects=False)).status_code == 303

    async def test_probes_are_answered_whatever_they_send(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token=TOKEN) as client:
            assert set(await statuses(client, 30, "/api/health/live")) == {200}

    async def test_all_addresses_of_a_network_are_one(self, settings: Settings) -> None:
        app = create_app(settings, DashboardSettings(token=TOKEN))
        found = []
        for number in range(2 * MOST_FAILURES):
            transport = httpx.ASGITransport(app, client=(f"2001:db8:1:2:{number:x}::1", 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://naq") as client:
                found += await statuses(client, 1)
        assert 429 in found
        assert found.count(401) < len(found)
        await app.state.naq_dashboard.aclose()


class TestTrail:
    async def test_a_flood_is_two_entries_of_each_kind(
        self, open_dashboard: OpenDashboard, queue: Queue, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_dashboard(token=TOKEN) as client:
            for _ in range(3):
                await statuses(client, 100)
        entries = await refusals(queue)
        said = [(each.reason, each.details) for each in entries]
        assert len(entries) <= 4, said
        assert counted(entries) == 300, said
        assert {each.reason for each in entries} == {"wrong token", "too many wrong tokens"}
        assert {each.details["from"] for each in entries} == {"127.0.0.1"}
        warnings = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
        assert len(warnings) <= 8, warnings

    @pytest.mark.parametrize("kind", ["password", "unknown name", "role", "read-only"])
    async def test_so_is_every_other_refusal(self, open_dashboard: OpenDashboard, queue: Queue, kind: str) -> None:
        own = {"read_only": True} if kind == "read-only" else {"users": (VERA,)}
        async with open_dashboard(**own) as client:
            for number in range(30):
                if kind == "password":
                    await client.post("/login", data={"name": "vera", "password": f"guess-{number}"}, headers=SAME)
                elif kind == "unknown name":
                    await client.get("/api/queues", auth=(f"user-{number}", "guess"))
                else:
                    headers = {} if kind == "read-only" else BASIC
                    assert (await client.post(f"/api/jobs/{number}/cancel", headers=headers)).status_code == 403
        entries = await refusals(queue)
        assert len(entries) <= 4
        assert counted(entries) == 30

    async def test_a_few_are_told_with_their_targets(self, open_dashboard: OpenDashboard, queue: Queue) -> None:
        async with open_dashboard(users=(VERA,)) as client:
            assert (await client.get("/api/queues", headers=BASIC)).status_code == 200  # there is a connection from now on
            for number in range(2):
                await client.post(f"/api/jobs/job-{number}/cancel", auth=("vera", "pw"))
        assert [(each.target, each.details) for each in await refusals(queue)] == [("job-1", {}), ("job-0", {})]

    async def test_thousands_of_addresses_are_summed_too(self, settings: Settings, queue: Queue) -> None:
        app = create_app(settings, DashboardSettings(token=TOKEN))
        for number in range(3 * MOST_KINDS):
            transport = httpx.ASGITransport(app, client=(f"192.0.{number // 250}.{number % 250}", 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://naq") as client:
                assert (await client.get("/api/queues", headers=wrong(number))).status_code == 401
        await app.state.naq_dashboard.aclose()
        entries = await refusals(queue)
        assert len(entries) <= MOST_KINDS + 2
        assert counted(entries) == 3 * MOST_KINDS

    @pytest.mark.parametrize(
        "headers", [{"Host": "evil-{}.example"}, {"Origin": "http://evil-{}.example"}], ids=["host", "other site"]
    )
    async def test_the_log_does_not_fill_up(
        self, dashboard: Client, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
    ) -> None:
        for number in range(50):
            sent = {name: value.format(number) for name, value in headers.items()}
            assert (await dashboard.post("/api/queues/default/pause", headers=sent)).status_code == 403
        assert len([each for each in caplog.records if "evil" in each.getMessage()]) == 1


class TestOptions:
    async def test_every_route_says_what_it_takes(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token=TOKEN) as client:
            app = create_app(dashboard=DashboardSettings(token=TOKEN))
            routes = {route.path for route in app.routes}
            assert len(routes) > 60
            for path in sorted(routes):
                address = "/".join("x" if "{" in part else part for part in path.split("/"))
                answer = await client.options(address, headers={"Origin": "http://elsewhere", "Authorization": "Bearer guess"})
                assert answer.status_code == 204, path
                assert not [name for name in answer.headers if name.startswith("access-control")]
                allowed = set(answer.headers["allow"].split(", "))
                assert "OPTIONS" in allowed
                for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
                    status = (await client.request(method, address, follow_redirects=False)).status_code
                    assert (status != 405) == (method in allowed), (path, method, status, allowed)

    async def test_other_names_are_not_answered(self, dashboard: Client) -> None:
        assert (await dashboard.options("/", headers={"Host": "evil.example"})).status_code == 403
