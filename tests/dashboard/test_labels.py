"""Tags and headers on the pages and in the API, and jobs found by them."""

from typing import Any

from naq_client import Queue
from tests.cli.commands import naq
from tests.dashboard.conftest import Client
from tests.integration import work


async def test_pages_and_api_show_and_find_them(dashboard: Client, queue: Queue) -> None:
    options = queue.options(tags=["vip", "<b>"], headers={"customer": "4711", "token": "abc"})
    job = await options.enqueue(work.anything, 1, customer="4711")
    other = await queue.enqueue(work.anything)
    page = (await dashboard.get(f"/jobs/{job.job_id}", headers={"Accept": "text/html"})).text
    assert "customer=4711" in page
    assert "abc" not in page
    assert "q=tag%3Avip" in page
    assert "<b>" not in page
    view = (await dashboard.get(f"/api/jobs/{job.job_id}")).json()
    assert (view["tags"], view["headers"]) == (["vip", "<b>"], {"customer": "4711", "token": "•••"})
    for words, found in {
        "tag:vip": True,
        "header.customer:4711": True,
        "arg.customer:4711 arg.0:1": True,
        "header.token:abc": False,
        "tag:bulk": False,
    }.items():
        jobs = (await dashboard.get("/api/jobs", params={"q": words})).json()["jobs"]
        assert [each["job_id"] for each in jobs] == ([job.job_id] if found else []), words
        text = (await dashboard.get("/jobs", params={"q": words}, headers={"Accept": "text/html"})).text
        assert (job.job_id in text, other.job_id in text) == (found, False), words


async def test_the_command_line_shows_and_finds_them(queue: Queue) -> None:
    here: dict[str, Any] = {"NAQ_NATS_URL": queue.settings.nats_url, "NAQ_NAMESPACE": queue.settings.namespace}
    made = naq("enqueue", "math:sqrt", "2", "--tag", "vip,new", "--header", "customer=4711", "--header", "note=a b, c", **here)
    assert made.returncode == 0, made.stderr
    await queue.enqueue(work.anything)
    job = made.stdout.split()[0]
    shown = naq("job", "show", job, **here).stdout
    assert "customer=4711" in shown
    assert "note=a b, c" in shown
    for words in (
        ("--tag", "vip", "--tag", "new"),
        ("tag:vip",),
        ("header.customer:4711",),
        ("arg.0:2",),
        ("header.note:a b, c",),
    ):
        listed = naq("job", "list", *words, "--quiet", **here)
        assert listed.stdout.split() == [job], (words, listed.stdout, listed.stderr)
