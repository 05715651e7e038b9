"""Every way to change something, found in the application itself: who may use it, from where, and what hostile words do to it."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from litestar.handlers import HTTPRouteHandler

from naq_client import Queue
from naq_core.audit import read_trail
from naq_core.inspect import get_queue
from naq_dashboard import VIEWER, User, create_app
from naq_dashboard.actions.table import VERBS
from naq_dashboard.guard.guard import SAFE_METHODS
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually

LOGINS = {"/login", "/logout"}
VERA = User(name="vera", access=VIEWER, password="pw")
BODIES: dict[str, dict[str, Any]] = {
    "/api/bulk": {"action": "delete", "filter": "state:queued"},
    "/api/schedules": {"function": "math:sqrt", "interval": "1h"},
    "/api/schedules/{schedule_id:str}": {"interval": "1h"},
}
"""What an operation takes that needs a body; the others do without one."""
HOSTILE = (
    "a.b.>",
    "*",
    "..",
    "%2e%2e",
    "\r\nPUB x 0\r\n",
    "\x00",
    "<script>",
    "x" * 5000,
    "\u202e\u2028",
    "'; DROP TABLE jobs; --",
    "$JS.API.STREAM.PURGE.x",
    "é",
    "",
)


class Way(NamedTuple):
    """One method of one path."""

    method: str
    path: str

    def fill(self, value: str = "default") -> str:
        parts = self.path.split("/")
        return "/".join(quote(value, safe="") if "{" in part else part for part in parts)


def unsafe() -> Iterator[tuple[Way, HTTPRouteHandler]]:
    for route in create_app().routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in set(handler.http_methods) - SAFE_METHODS:
                yield Way(str(method), route.path), handler


WAYS = sorted({way for way, _ in unsafe()} - {Way("POST", "/do/{verb:str}")})
FORMS = [Way("POST", f"/do/{verb}") for verb in (*VERBS, "bulk", "stop-bulk")]
CHANGING = [way for way in (*WAYS, *FORMS) if way.path not in LOGINS]
STOPPING = {"/do/stop-bulk", "/api/bulk/{run_id:str}/stop"}


def body_of(way: Way) -> dict[str, Any]:
    """What makes a request one that would be carried out if nothing stood in its way."""
    if way.path.startswith("/do/"):
        words = dict.fromkeys(("queue", "job_id", "worker_id", "schedule_id", "workflow_id", "run_id"), "default")
        words |= {"confirm": "default", "interval": "1h", "function": "math:sqrt", "duration": "1h"}
        return {"data": words | {"verb": "delete", "scope": "all"}}
    if (body := BODIES.get(way.path)) is not None:
        return {"json": body}
    return {"json": {"confirm": "default"}} if way.path.endswith("/purge") else {}


async def send(client: Client, way: Way, **options: Any) -> Any:
    return await client.request(way.method, way.fill(), **(body_of(way) | options), follow_redirects=False)


def test_the_walk_knows_them_all() -> None:
    paths = {way.path for way in CHANGING}
    assert len(paths) > 40
    for path in (
        "/do/purge-queue",
        "/api/bulk",
        "/api/bulk/{run_id:str}/stop",
        "/api/schedules",
        "/api/jobs/{job_id:str}/cancel",
    ):
        assert path in paths


def test_each_names_its_action_and_only_logins_are_anybodys() -> None:
    for way, handler in unsafe():
        named = [name for name in ("action", "checks_action", "anybody") if handler.opt.get(name)]
        assert len(named) == 1, f"{way} has {named}"
        assert (named == ["anybody"]) == (way.path in LOGINS), way
        assert bool(handler.opt.get("public")) == (way.path in LOGINS), way


@pytest.fixture
async def job(queue: Queue) -> str:
    return (await queue.enqueue(work.add, 1, 1)).job_id


async def is_untouched(queue: Queue) -> None:
    async def as_it_was() -> None:  # the server counts what it has stored a moment later
        view = await get_queue(await queue.connection(), "default")
        assert (view.queued, view.paused, view.limit) == (1, False, None)

    await eventually(as_it_was)


async def test_nobody_uses_any_without_a_login(open_dashboard: OpenDashboard, queue: Queue, job: str) -> None:
    async with open_dashboard(token="full-token") as client:
        for headers in ({}, {"Authorization": "Bearer guess"}):
            answers = {way: (await send(client, way, headers=headers)).status_code for way in CHANGING}
            refused = {401, 429} if headers else {401}
            assert {way: status for way, status in answers.items() if status not in refused} == {}
    await is_untouched(queue)


@pytest.mark.parametrize("own", [{"users": (VERA,)}, {"read_only": True, "password": "pw"}], ids=["viewer", "read-only"])
async def test_nobody_uses_any_without_the_right(
    open_dashboard: OpenDashboard, queue: Queue, job: str, own: dict[str, Any]
) -> None:
    name = "vera" if "users" in own else "admin"
    async with open_dashboard(**own) as client:
        answers = {way: (await send(client, way, auth=(name, "pw"))).status_code for way in CHANGING}
    others = {way.path: status for way, status in answers.items() if status != 403}
    assert others == dict.fromkeys(STOPPING, 404), "the right to stop a run is the run's, and there is none"
    await is_untouched(queue)
    entries = (await read_trail(await queue.connection(), limit=200)).entries
    assert {(each.by, each.outcome) for each in entries} == {(name, "refused")}
    assert sum(int(each.details.get("count", 1)) for each in entries) == len(CHANGING) - len(STOPPING)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example"},
        {"Cookie": "a=b"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": "guess"},
        {"Host": "evil.example"},
    ],
    ids=["another site", "old browser", "no origin", "no token", "wrong token", "rebound name"],
)
async def test_nobody_elsewhere_makes_a_browser_use_any(
    dashboard: Client, queue: Queue, job: str, headers: dict[str, str]
) -> None:
    answers = {way: (await send(dashboard, way, headers=headers)).status_code for way in CHANGING}
    assert {way: status for way, status in answers.items() if status != 403} == {}
    await is_untouched(queue)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
async def test_hostile_words_are_refused_in_words(dashboard: Client, queue: Queue, job: str, hostile: str) -> None:
    for way in CHANGING:
        options = body_of(way)
        for kind in ("data", "json"):
            if kind in options:
                options[kind] = dict.fromkeys(options[kind], hostile)
        answer = await dashboard.request(way.method, way.fill(hostile), **options, follow_redirects=False)
        assert 400 <= answer.status_code < 500, (way, answer.status_code, answer.text[:300])
        assert "Traceback" not in answer.text
    await is_untouched(queue)


@pytest.mark.parametrize("path", sorted(LOGINS))
@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}])
async def test_nobody_elsewhere_logs_a_browser_in_or_out(
    open_dashboard: OpenDashboard, path: str, headers: dict[str, str]
) -> None:
    async with open_dashboard(password="pw") as client:
        answer = await client.post(path, data={"name": "admin", "password": "pw"}, headers=headers, follow_redirects=False)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
async def test_hostile_logins_are_wrong_logins(open_dashboard: OpenDashboard, hostile: str) -> None:
    async with open_dashboard(password="pw") as client:
        for form in ({"name": hostile, "password": hostile}, {"name": "admin", "password": hostile, "next": hostile}):
            answer = await client.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=False)
            assert answer.status_code == 403
        raw = b"name=admin&password=%ED%A0%80&next=%FF"
        headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post("/login", content=raw, headers=headers)).status_code == 403
