"""What is hidden on pages cannot be found out by searching, filtering, counting or acting either."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from naq_client import Queue
from naq_core.audit import Actor, recorded
from naq_core.inspect._match import record_sieve
from naq_core.record import AttemptError, JobRecord, JobState, encode_record
from naq_core.testing import WorkerRunner
from naq_core.views import JobFilter
from naq_dashboard import VIEWER, User
from naq_dashboard.access.roles import OPERATOR
from naq_dashboard.masking import MASK, Masker
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually

USERS = (User(name="vera", access=VIEWER, password="pw"), User(name="olga", access=OPERATOR, password="pw"))
VERA, OLGA = ("vera", "pw"), ("olga", "pw")
SECRET_LENGTH = 12
LETTERS = "qxzjvQXZJV"
"""Of which no text is made that is shown, nor an id."""
FIELDS = ("q", "function", "worker", "error", "workflow", "schedule")


def word(source: random.Random, length: int = SECRET_LENGTH) -> str:
    return "".join(source.choices(LETTERS, k=length))


def guesses(source: random.Random, secret: str) -> list[tuple[str, str]]:
    """Return parts of the secret, as somebody would guess them, each with an equally long text that is no part of it."""
    parts = [secret, secret[:2], secret[:5], secret[3:9], secret[-4:], secret.lower(), secret.upper(), f"api_key=\\'{secret[:4]}"]
    return [(part, "api_key=\\'" + word(source, 4) if "=" in part else word(source, len(part))) for part in parts]


@pytest.fixture(params=range(3))
def source(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


@pytest.fixture
async def secret(source: random.Random, queue: Queue, naq_worker: WorkerRunner) -> str:
    """Hide a value in everything that is kept of jobs: waiting, held, succeeded and failed ones."""
    hidden = word(source)
    await queue.options(max_retries=0).enqueue(work.fail, f"no connection, token={hidden}")
    await queue.enqueue("builtins:dict", password=hidden)
    await naq_worker.run_until_idle()
    idle = Queue("idle", connection=await queue.connection())
    waiting = await idle.options(on_dead=f'shop.pay:undo {{"api_key": "{hidden}"}}').enqueue("shop.pay:charge", 7, api_key=hidden)
    await queue.options(delay=3600).enqueue("shop.pay:charge", 7, api_key=hidden)
    assert waiting.is_new
    return hidden


async def test_a_right_guess_is_answered_as_a_wrong_one(
    open_dashboard: OpenDashboard, source: random.Random, secret: str
) -> None:
    async with open_dashboard(users=USERS) as client:
        assert len((await client.get("/api/jobs", auth=VERA)).json()["jobs"]) == 4
        for right, wrong in guesses(source, secret):
            for path in ("/api/jobs", "/api/jobs/count"):
                for field in FIELDS:
                    answers = [await _whole_answer(client, path, {field: each}) for each in (right, wrong)]
                    assert answers[0] == answers[1], (path, field, right)
            for path in ("/jobs", "/delayed", "/errors"):
                pages = [await _ids(client, path, each) for each in (right, wrong)]
                assert pages[0] == pages[1], (path, right)


async def _whole_answer(client: Client, path: str, params: dict[str, str]) -> Any:
    """Ask until the search has looked at everything; on a busy machine its time may end before."""

    async def ask() -> Any:
        answer = await client.get(path, params=params, auth=VERA)
        assert answer.status_code == 200
        found = answer.json()
        assert found.get("cursor") is None
        assert found.get("is_exact", True)
        return found

    return await eventually(ask)


async def _ids(client: Client, path: str, words: str) -> list[str]:
    text = (await client.get(path, params={"q": words}, headers={"Accept": "text/html"}, auth=VERA)).text
    return re.findall(r'id="j-([^"]+)"', text)


async def test_what_is_shown_is_found(open_dashboard: OpenDashboard, secret: str) -> None:
    async with open_dashboard(users=USERS) as client:
        for words, count in (("api_key", 2), (f"api_key={MASK}", 2), ("no connection", 1), ("function:charge 7", 2)):
            found = (await client.get("/api/jobs", params={"q": f'"{words}"' if "no" in words else words}, auth=VERA)).json()
            assert len(found["jobs"]) == count, words
            assert secret not in repr(found)


async def test_nothing_that_is_read_shows_it(open_dashboard: OpenDashboard, secret: str) -> None:
    async with open_dashboard(users=USERS) as client:
        found = (await client.get("/api/jobs", auth=VERA)).json()["jobs"]
        own = [f"{prefix}/jobs/{each['job_id']}" for each in found for prefix in ("", "/api")]
        for path in ("/", "/jobs", "/errors", "/delayed", "/queues/idle", "/queues/default", "/api/jobs", "/api/errors", *own):
            headers = {} if path.startswith("/api") else {"Accept": "text/html"}
            answer = await client.get(path, headers=headers, auth=VERA)
            assert answer.status_code == 200
            assert secret not in answer.text, path


async def test_failures_that_differ_in_what_is_hidden_are_one_group(
    open_dashboard: OpenDashboard, queue: Queue, naq_worker: WorkerRunner, source: random.Random
) -> None:
    for _ in range(3):
        await queue.options(max_retries=0).enqueue(work.fail, f"no connection, token={word(source)}")
    await naq_worker.run_until_idle()
    async with open_dashboard(users=USERS) as client:
        (group,) = (await client.get("/api/errors", auth=VERA)).json()
        assert (group["count"], group["message"]) == (3, f"no connection, token={MASK}")
        page = (await client.get("/errors", headers={"Accept": "text/html"}, auth=VERA)).text
        (address,) = set(re.findall(r'class="err-type cut" href="([^"]+)"', page))
        listed = await client.get(address.replace("&amp;", "&"), headers={"Accept": "text/html"}, auth=VERA)
        assert listed.text.count('id="j-') == 3


async def test_actions_do_not_tell_either(open_dashboard: OpenDashboard, source: random.Random, secret: str) -> None:
    async with open_dashboard(users=USERS) as client:
        for right, wrong in guesses(source, secret):
            answers = [await _bulk(client, each, VERA, expect_count=0) for each in (right, wrong)]
            assert [each.status_code for each in answers] == [403, 403], right
            assert answers[0].json() == answers[1].json()
        for right, wrong in guesses(source, secret)[:2]:
            for each in (right, wrong):
                begun = await _bulk(client, each, OLGA, expect_count=0)
                assert begun.status_code == 202, begun.text
                run_id = begun.json()["run_id"]

                async def ended(run_id: str = run_id) -> None:
                    state = (await client.get(f"/api/bulk/{run_id}", auth=OLGA)).json()
                    assert state["ended_at"] is not None
                    assert (state["done"], state["error"]) == (0, "")

                await eventually(ended)


async def _bulk(client: Client, words: str, auth: tuple[str, str], **more: Any) -> Any:
    body = {"action": "cancel", "filter": f"id:{words}", **more}
    return await client.post("/api/bulk", json=body, auth=auth)


async def test_the_audit_trail_is_searched_as_it_is_shown(
    open_dashboard: OpenDashboard, queue: Queue, source: random.Random
) -> None:
    hidden = word(source)
    async with recorded(await queue.connection(), Actor("ada", "session"), "retry-jobs", f"password={hidden}"):
        pass
    async with open_dashboard(users=USERS) as client:

        async def found(target: str) -> Any:
            return (await client.get("/api/audit", params={"target": target}, auth=VERA)).json()

        assert [each["target"] for each in (await found("password="))["entries"]] == [f"password={MASK}"]
        for length in (1, 4, SECRET_LENGTH):
            right, wrong = f"password={hidden[:length]}", f"password={word(source, length)}"
            assert await found(right) == await found(wrong)


def test_a_record_is_not_passed_over_because_of_what_is_hidden() -> None:
    errors = [AttemptError("shop.CardError", "token=hidden")]
    record = JobRecord(
        state=JobState.DEAD, job_id="a", queue="q", function="shop:pay", worker="w-1", arguments="api_key='hidden'", errors=errors
    )
    data = encode_record(record)
    for wanted in (JobFilter(function="hidden"), JobFilter(worker="hidden"), JobFilter(error="hidden")):
        assert not record_sieve(wanted)(data), "a name is looked for in its own field"
    for wanted in (JobFilter(function="pay"), JobFilter(worker="w-1"), JobFilter(error="CardError"), JobFilter(text="hidden")):
        assert record_sieve(wanted)(data)
    for text in ("hidden", "absent"):
        assert record_sieve(JobFilter(text=text), Masker())(data), "how long it takes would tell"
    assert not record_sieve(JobFilter(text="absent"))(data)
