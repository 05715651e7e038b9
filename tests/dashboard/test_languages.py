"""Pages in another language: one in brackets shows that no page says anything that is not in the catalogue."""

from __future__ import annotations

import html
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue, chain
from naq_core.testing import WorkerRunner
from naq_dashboard import User
from naq_dashboard.access.roles import ADMIN
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.messages import CATALOGUE
from tests.support.pseudo import BEGIN, LANGUAGE, outside, write_catalogue
from tests.support.untranslated import has_words

PAGE = {"Accept": "text/html"}
DATA = re.compile(
    r"""
    naq[\w.-]* | nats(-server|://\S+)? | \$?[A-Z]+_\w+ | KV_\w+
    | tests\.integration\.work(:\w+)? | work:\w+ | \b(fail|add|anything)\b | builtins\S+ | RuntimeError | ValueError | q-\w+
    | \b[0-9a-zA-Z]{6}…[0-9a-zA-Z]{6}\b | \b(?=\w*\d)\w{8,}\b
    | \b\d+(\.\d+)?(ms|s|m|h|d)\b | \b[KMGT]?i?B\b
    | \b(DEBUG|INFO|WARNING|ERROR|CRITICAL|Info|Warning|Error|Critical)\b
    | \b[a-z]+-(job|jobs|queue|worker|schedule|workflow|deploy|signal|in|out)\b  # actions, as the audit trail calls them
    | \b(since|until|duration|queue|function|from|session|limit|reason|count|interval|cron)(?=:[ ])  # details of its entries
    # values of options
    | \b(allow|skip|cancel|once|all|fixed|linear|exponential|first|late|refuse|return|replace|high|normal|low)\b
    | \bdefault\b | \bresult[ ]of[ ]\w+ | \bjson\b | \w+/(json|plain|event-stream)\b
    | \b[A-Z0-9]{16,}\b  # the server's id
    | OSError,shop\.errors\.Busy | billing,vip | customer=4711 | order_id,customer | vip=3  # examples of options
    | \b(GET|POST|PUT|DELETE|PATCH)\b | \b(int|float|str|list|dict|NoneType)\b | Europe/Berlin
    """,
    re.VERBOSE,
)
"""What the pages show of the jobs below, of settings and of the server."""


@pytest.fixture
def translations(tmp_path: Path) -> Path:
    write_catalogue(CATALOGUE, tmp_path)
    return tmp_path


@pytest.fixture
async def translated(open_dashboard: OpenDashboard, translations: Path) -> AsyncIterator[Client]:
    async with open_dashboard(language=LANGUAGE, translations=str(translations)) as client:
        yield client


def english(text: str) -> list[tuple[str, str]]:
    host = socket.gethostname().partition(".")[0]
    told = re.sub(rf"\b{re.escape(host)}[\w.-]*", " ", text)
    return [(place, found) for place, found in outside(told) if has_words(DATA.sub(" ", found))]


async def test_no_page_says_anything_that_is_not_in_the_catalogue(
    translated: Client, queue: Queue, naq_worker: WorkerRunner
) -> None:
    paths = await _everything(queue, naq_worker, translated)
    found: dict[str, str] = {}
    for path in paths:
        answer = await translated.get(path, headers=PAGE)
        assert f'<html lang="{LANGUAGE}"' in answer.text, path
        found |= {f"<{place}> {text}": path for place, text in english(answer.text)}
    assert not found, "\n".join(f"{path}: {text}" for text, path in found.items())


async def _everything(queue: Queue, worker: WorkerRunner, client: Client) -> list[str]:
    """Make jobs in each state, and whatever else has a page; return the addresses of all pages."""
    dead: Any = await queue.options(max_retries=0, tags=["q-tag"], headers={"q-header": "1"}).enqueue(work.fail, "1")
    done: Any = await queue.enqueue(work.add, 1, 1)
    flow: Any = await chain(queue.s(work.add, 1), queue.s(work.add, b=5)).enqueue()
    await worker.run_until_idle()
    retrying: Any = await queue.options(max_retries=3, retry_delay=3600).enqueue(work.fail, "1")
    await worker.run_until_idle()
    waiting: Any = await queue.enqueue(work.add, 2, 2)
    held: Any = await queue.options(delay=3600).enqueue(work.add, 3, 3)
    cancelled: Any = await queue.enqueue(work.add, 4, 4)
    answers = [
        await act(client, "cancel-job", job_id=cancelled.job_id, reason="1"),
        await act(client, "pause-queue", queue="default", duration="1h"),
        await act(client, "limit-queue", queue="default", limit="1"),
    ]
    assert all(each["notice"].startswith(BEGIN) for each in answers), answers
    await queue.schedule(work.add, 1, interval=3600, schedule_id="q-schedule")
    jobs = [each.job_id for each in (dead, done, retrying, waiting, held, cancelled)]
    return [
        *("/", "/queues", "/queues/default", "/jobs", "/jobs?state=dead&q=1", "/jobs?q=1&since=2h", "/jobs?state=running"),
        *("/jobs?state=expired", "/jobs?q=%22open", "/queues?find=nothing", "/workers?find=nothing", "/schedules?find=nothing"),
        *(f"/jobs/{each}" for each in jobs),
        *(f"/new-job?like={done.job_id}", "/new-job", "/errors", "/functions", "/functions/tests.integration.work:add"),
        *(
            "/functions?find=nothing",
            "/delayed",
            "/delayed?queue=default",
            "/schedules",
            "/new-schedule",
            "/schedules/q-schedule",
        ),
        *("/schedules/q-schedule/edit", "/schedules/q-schedule?since=2h", "/workflows", f"/workflows/{flow.workflow_id}"),
        *("/events", "/signals", "/audit", "/audit?by=nobody", "/workers", "/nothing", "/jobs/nothing", "/api"),
    ]


async def act(client: Client, verb: str, **fields: str) -> Any:
    page = (await client.get("/api", headers=PAGE)).text
    (token,) = re.findall(r'name="naq-csrf" content="([^"]*)"', page)
    answer = await client.post(f"/do/{verb}", data={"_csrf_token": token, **fields}, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_programs_and_the_audit_trail_get_english(translated: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1, 1)
    assert (await act(translated, "pause-queue", queue="default"))[
        "notice"
    ] == "⟦Queue default is paused; running jobs continue.⟧"
    assert (await translated.post("/api/queues/default/resume")).json() == {"notice": "Queue default is resumed."}
    entries = (await translated.get("/api/audit")).json()["entries"]
    assert {each["reason"] for each in entries} == {
        "Queue default is paused; running jobs continue.",
        "Queue default is resumed.",
    }


async def test_a_login_page_is_translated(open_dashboard: OpenDashboard, translations: Path) -> None:
    users = (User(name="ada", access=ADMIN, password="pw"),)
    async with open_dashboard(language=LANGUAGE, translations=str(translations), users=users) as client:
        for answer in (
            await client.get("/login", headers=PAGE),
            await client.post("/login", data={"name": "ada", "password": "no"}, headers=PAGE),
        ):
            assert english(answer.text) == []


async def test_scripts_get_their_texts_with_the_page(translated: Client, dashboard: Client) -> None:
    text = (await translated.get("/api", headers=PAGE)).text
    texts = json.loads(html.unescape(re.findall(r'data-texts="([^"]*)"', text)[0]))
    assert texts["Copied."] == "⟦Copied.⟧"
    assert "data-texts" not in (await dashboard.get("/api", headers=PAGE)).text, "English needs none"


async def test_a_browser_can_choose(open_dashboard: OpenDashboard, translations: Path) -> None:
    async with open_dashboard(language="browser", translations=str(translations)) as client:
        for wanted, language in {"xx-AT,xx;q=0.8,en;q=0.5": LANGUAGE, "fr,en;q=0.5,xx;q=0.1": "en", "": "en", "fr": "en"}.items():
            answer = await client.get("/api", headers={**PAGE, "Accept-Language": wanted})
            assert f'<html lang="{language}"' in answer.text, wanted
            assert "Accept-Language" in answer.headers["Vary"]
