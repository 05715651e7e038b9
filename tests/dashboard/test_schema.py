"""The API under requests made from its own schema: whatever comes, it is never a mistake of ours."""

import asyncio
from functools import cache
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from naq_client import Queue
from naq_dashboard.docs.openapi import METHODS, describe
from tests.dashboard.conftest import Client
from tests.integration import work

EXAMPLES = 12


def operations() -> list[str]:
    described = describe("", needs_login=False)
    return sorted(f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item if method in METHODS)


@cache
def schema() -> Any:
    return schemathesis.openapi.from_dict(describe("", needs_login=False))


@pytest.mark.parametrize("operation", operations())
async def test_no_request_is_answered_with_a_server_error(dashboard: Client, queue: Queue, operation: str) -> None:
    await queue.enqueue(work.add, 1, 1)
    method, _, path = operation.partition(" ")
    strategy = schema()[path][method].as_strategy()
    cases: list[Any] = []

    @settings(
        max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(st.data())
    def collect(data: Any) -> None:
        cases.append(data.draw(strategy))

    await asyncio.to_thread(collect)
    for case in cases:
        request = case.as_transport_kwargs(base_url="http://127.0.0.1")
        request.pop("cookies", None)
        if isinstance(request.get("data"), bytes | str):
            request["content"] = request.pop("data")
        try:
            built = dashboard.build_request(**{key: value for key, value in request.items() if key in ARGUMENTS})
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError):
            continue  # no client could send it
        if path == "/api/stream":
            transport: Any = dashboard._transport
            transport.app.state.naq_dashboard.live.end_streams()  # it would never be answered in whole
        answer = await dashboard.send(built)
        assert answer.status_code < 500, f"{built.method} {built.url} {built.content[:300]!r}: {answer.text[:300]}"


ARGUMENTS = {"method", "url", "json", "content", "data", "headers", "params"}
