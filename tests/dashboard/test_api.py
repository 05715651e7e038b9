"""The API as programs use it: what it refuses, how it says so, and what its description promises."""

import re
import shlex
from html import unescape
from typing import Any

import pytest

from naq_client import Queue
from naq_dashboard import create_app
from naq_dashboard.docs.openapi import describe
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually


def operations() -> dict[str, Any]:
    paths = describe("", needs_login=False)["paths"]
    return {f"{method} {path}": operation for path, item in paths.items() for method, operation in item.items()}


class TestMistakes:
    @pytest.mark.parametrize(
        ("path", "named"),
        [
            ("/api/jobs?stat=dead", "did you mean state?"),
            ("/api/jobs?nothing=1", "limit, cursor, q, state"),
            ("/api/jobs/count?limit=3", "'limit'"),
            ("/api/queues?name=mail", "this operation has no parameters"),
            ("/api/workflows?offset=3", "limit, cursor"),
            ("/api/jobs?limit=many", "limit: "),
            ("/api/jobs?limit=0", "limit: "),
            ("/api/jobs?state=alive", "state: "),
        ],
    )
    async def test_a_wrong_parameter_is_named(self, dashboard: Client, path: str, named: str) -> None:
        answer = await dashboard.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), answer.text
        assert named in answer.json()["detail"]

    async def test_what_gets_past_a_cache_is_harmless(self, dashboard: Client) -> None:
        assert (await dashboard.get("/api/jobs?_=1700000000")).status_code == 200
        assert (await dashboard.get("/api/health/live?probe=kubelet")).status_code == 200

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/nosuch", 404),
            ("POST", "/api/nosuch", 404),
            ("GET", "/api/jobs/a/b/c/d", 404),
            ("GET", "/api/jobs/nobody", 404),
            ("DELETE", "/api/queues", 405),
        ],
    )
    async def test_whatever_fails_is_a_problem_document(self, dashboard: Client, method: str, path: str, status: int) -> None:
        answer = await dashboard.request(method, path, headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status

    async def test_a_wrong_field_of_a_body_is_named(self, dashboard: Client) -> None:
        answer = await dashboard.post("/api/bulk", json={"action": "explode", "filter": ""})
        assert answer.status_code == 400
        assert "action" in answer.json()["detail"]
        assert [each["name"] for each in answer.json()["errors"]] == ["action"]


class TestConditional:
    async def test_what_is_known_is_not_sent_again(self, dashboard: Client, queue: Queue) -> None:
        await queue.enqueue(work.add, 1, 1)
        first = await dashboard.get("/api/jobs")
        tag = first.headers["etag"]
        for header in (tag, f'"other", W/{tag}'):
            again = await dashboard.get("/api/jobs", headers={"If-None-Match": header})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            assert again.headers["cache-control"] == "no-store"
        await queue.enqueue(work.add, 2, 2)

        async def changed() -> None:
            answer = await dashboard.get("/api/jobs", headers={"If-None-Match": tag})
            assert answer.status_code == 200
            assert len(answer.json()["jobs"]) == 2

        await eventually(changed)

    async def test_problems_and_actions_have_no_tag(self, dashboard: Client) -> None:
        assert "etag" not in (await dashboard.get("/api/jobs/nobody")).headers
        assert "etag" not in (await dashboard.post("/api/queues/default/resume")).headers


class TestDescription:
    def test_every_operation_says_what_it_is(self) -> None:
        found = operations()
        assert len(found) > 30
        names = [operation["operationId"] for operation in found.values()]
        assert len(set(names)) == len(names)
        tags = {tag["name"] for tag in describe("", needs_login=False)["tags"]}
        for name, operation in found.items():
            assert len(operation["summary"]) > 10, name
            assert set(operation["tags"]) <= tags, name

    def test_what_can_be_refused_is_said(self) -> None:
        cancel = operations()["post /api/jobs/{job_id}/cancel"]
        assert {"400", "401", "403", "404", "409", "503"} <= set(cancel["responses"])
        assert cancel["x-naq-action"] == "cancel-job"
        assert operations()["get /api/health/live"]["security"] == []

    def test_fields_are_explained_by_their_source(self) -> None:
        schemas = describe("", needs_login=False)["components"]["schemas"]
        assert schemas["JobView"]["properties"]["arguments"]["description"].startswith("A preview as text")
        assert schemas["NewSchedule"]["properties"]["overlap"]["description"].startswith("If the previous run has not ended")

    def test_who_must_log_in_is_told_how(self) -> None:
        assert {} in describe("", needs_login=False)["security"]
        assert {} not in describe("", needs_login=True)["security"]

    async def test_it_takes_a_login_to_read_it(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token="a-long-token") as client:
            assert (await client.get("/api/openapi.json")).status_code == 401
            answer = await client.get("/api/openapi.json", headers={"Authorization": "Bearer a-long-token"})
            assert answer.json()["openapi"].startswith("3.1")

    def test_making_it_leaves_the_application_as_it_is(self) -> None:
        before = len(create_app().routes)
        describe("", needs_login=False)
        assert len(create_app().routes) == before


class TestReference:
    async def test_it_shows_every_operation_with_a_line_to_try(self, dashboard: Client) -> None:
        page = await dashboard.get("/api", headers={"Accept": "text/html"})
        assert page.status_code == 200
        for name, operation in operations().items():
            assert f'id="{operation["operationId"]}"' in page.text, name
        lines = [unescape(line) for line in re.findall(r'data-copy="([^"]*)"', page.text)]
        assert len(lines) == len(operations()) + 1
        assert {shlex.split(line)[0] for line in lines} == {"curl"}
        assert "curl http://127.0.0.1/api/jobs" in lines

    async def test_links_to_schemas_lead_to_them(self, dashboard: Client) -> None:
        text = (await dashboard.get("/api")).text
        assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text))

    async def test_a_token_is_part_of_the_line_where_one_is_needed(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(read_token="a-long-token") as client:
            text = unescape((await client.get("/api", headers={"Authorization": "Bearer a-long-token"})).text)
            assert 'curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1/api/jobs' in text
            assert "a-long-token" not in text
            assert "<code>retry-job</code>, which you do not have" in text

    async def test_a_hostile_host_stays_text(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(allowed_hosts=("*",)) as client:
            answer = await client.get("/api", headers={"Host": "a'\"><script>b</script>;rm -rf"})
            assert "<script>b" not in answer.text

    @pytest.mark.parametrize(
        ("query", "place"),
        [
            ("_operation=all_jobs&q=a+b&state=&limit=5", "/api/jobs?q=a+b&limit=5"),
            ("_operation=one_job&job_id=a/../b%3Fc", "/api/jobs/a%2F..%2Fb%3Fc"),
            ("_operation=all_queues&next=//evil", "/api/queues"),
        ],
    )
    async def test_a_form_leads_to_its_operation(self, dashboard: Client, query: str, place: str) -> None:
        answer = await dashboard.get(f"/api/try?{query}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, place)

    @pytest.mark.parametrize(
        ("query", "named"), [("_operation=one_job", "job_id"), ("_operation=cancel_job&job_id=x", "cancel_job"), ("", "''")]
    )
    async def test_a_form_leads_nowhere_else(self, dashboard: Client, query: str, named: str) -> None:
        answer = await dashboard.get(f"/api/try?{query}", follow_redirects=False)
        assert answer.status_code == 400
        assert named in answer.json()["detail"]
