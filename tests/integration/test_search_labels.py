"""Searching jobs by tag, header and argument; what a mask hides is not found."""

import dataclasses
from typing import Any

import pytest

from naq_client import Queue
from naq_core import JobFailedError, inspect, manage
from naq_core.errors import InvalidOptionError
from naq_core.filters import describe_filter, parse_filter
from naq_core.inspect import count_jobs, list_jobs
from naq_core.views import JobFilter
from naq_dashboard.masking import Masker
from tests.conftest import RunWorker
from tests.integration import work

SLOW = 60.0

pytestmark = pytest.mark.naq(job_serializer="json", allowed_functions=("tests.integration.work:*",))


async def found(queue: Queue, words: str, mask: Any = None) -> set[str]:
    """Return the ids of the jobs that the words find; a count says the same number."""
    connection = await queue.connection()
    wanted = parse_filter(words)
    assert parse_filter(describe_filter(wanted)) == wanted
    ids = {job.job_id for job in (await list_jobs(connection, wanted, mask=mask)).jobs}
    assert (await count_jobs(connection, wanted, mask=mask)).count == len(ids)
    return ids


async def test_by_tag_and_header_from_the_enqueue_to_the_end(queue: Queue, run_worker: RunWorker) -> None:
    for number, customer in enumerate(("4711", "4712", "4711")):
        tags = ["vip", f"n{number}"] if number else ["bulk"]
        options = queue.options(job_id=f"job{number}", tags=tags, headers={"customer": customer, "x.y": "two words"})
        await options.enqueue(work.add if number else work.fail, *([number] if number else []))
    for _ in range(2):
        assert await found(queue, "tag:vip") == {"job1", "job2"}
        assert await found(queue, "tag:vip tag:n2") == {"job2"}
        assert await found(queue, "tag:vi") == await found(queue, "tag:vip tag:bulk") == set()
        assert await found(queue, "header.customer:4711") == {"job0", "job2"}
        assert await found(queue, "header.customer:4711 tag:vip") == {"job2"}
        assert await found(queue, "'header.x.y:two words'") == {"job0", "job1", "job2"}
        assert await found(queue, "header.customer:47") == await found(queue, "header.Customer:4711") == set()
        async with run_worker(burst=True):
            assert await (await queue.job("job2")).result(SLOW) == 2
            with pytest.raises(JobFailedError):
                await (await queue.job("job0")).result(SLOW)
    assert await manage.bulk(await queue.connection(), "retry", parse_filter("tag:bulk")) == 1


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "a": ((), {"customer": 4711, "note": "hello there"}),
    "b": (({"id": 5, "lines": [{"sku": "x1"}]}, True), {}),
    "c": (("4711",), {"customer": "4711", "rate": 1.5, "none": None, "nest": {"a.b": {"c.d": "dots"}}}),
    "d": ((), {"note": "long " * 100, "customer": 4713}),
    "e": (([1, 2, 3, 4, 5, 6, 7, 8],), {"deep": {"a": {"b": {"c": {"d": {"e": {"f": {"g": 6}}}}}}}}),
}
FOUND = {
    "arg.customer:4711": {"a", "c"},
    "'arg.note:hello there'": {"a"},
    "arg.0.id:5": {"b"},
    "arg.0.lines.0.sku:x1": {"b"},
    "arg.1:true": {"b"},
    "arg.0:4711": {"c"},
    "arg.rate:1.5 arg.none:null": {"c"},
    "arg.nest.a.b.c.d:dots": {"c"},
    "arg.customer:4713": {"d"},
    "arg.0.7:8": {"e"},
    "arg.deep.a.b.c.d.e.f.g:6": {"e"},
    "arg.customer:47": set(),
    "arg.0.lines:x1": set(),
    "arg.2:x": set(),
}
ONLY_STORED = {"arg.0.7:8", "arg.deep.a.b.c.d.e.f.g:6"}
"""What the preview does not spell out, and so is not found once the call is gone."""


async def test_by_argument(queue: Queue, run_worker: RunWorker) -> None:
    for job_id, (args, kwargs) in CALLS.items():
        await queue.options(job_id=job_id).enqueue(work.anything, *args, **kwargs)
    for words, ids in FOUND.items():
        assert await found(queue, words) == ids, words
    async with run_worker(burst=True):
        for job_id in CALLS:
            assert await (await queue.job(job_id)).result(SLOW) is None
    for words, ids in FOUND.items():
        assert await found(queue, words) == (set() if words in ONLY_STORED else ids), words


async def test_dead_jobs_are_found_by_all_their_arguments(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.fail, message="long " * 100)
    async with run_worker():
        with pytest.raises(JobFailedError):
            await job.result(SLOW)
    long = "long " * 100
    assert await found(queue, f"'arg.message:{long}'") == {job.job_id}


async def test_pickled_calls_are_found_by_their_preview(queue: Queue) -> None:
    async with Queue(settings=dataclasses.replace(queue.settings, job_serializer="pickle", allowed_functions=())) as pickled:
        job = await pickled.enqueue(work.anything, {"id": 5}, customer="4711")
    assert await found(queue, "arg.customer:4711 arg.0.id:5") == {job.job_id}


@pytest.mark.parametrize("ended", [False, True])
async def test_what_is_masked_is_not_found(ended: bool, queue: Queue, run_worker: RunWorker) -> None:
    options = queue.options(headers={"token": "abc", "customer": "4711"}, tags=["vip"])
    job = await options.enqueue(
        work.anything, {"password": "abc", "inner": {"api_key": ["abc"]}}, "password=abc", pin=7, user="ada"
    )
    if ended:
        async with run_worker():
            await job.result(SLOW)
    secret = ("header.token:abc", "arg.0.password:abc", "arg.0.inner.api_key.0:abc", "arg.1:password=abc", "arg.pin:7")
    for words in secret:
        assert await found(queue, words) == {job.job_id}, words
        assert await found(queue, words, Masker()) == set(), words
    for words in ("header.customer:4711", "tag:vip", "arg.user:ada"):
        assert await found(queue, words, Masker()) == {job.job_id}, words


@pytest.mark.parametrize("words", ["header:4711", "arg:5", "tags:vip"])
def test_words_that_mean_nothing_are_refused(words: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"write (header|arg)\.customer:4711|did you mean tag"):
        parse_filter(words)


WRONG: list[dict[str, Any]] = [
    {"tags": "vip"},
    {"tags": (3,)},
    {"headers": (("a",),)},
    {"headers": ("ab",)},
    {"arguments": (("", "x"),)},
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_filters_of_programs_are_refused(wrong: dict[str, Any], queue: Queue) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(wrong))):
        await inspect.list_jobs(await queue.connection(), JobFilter(**wrong))
