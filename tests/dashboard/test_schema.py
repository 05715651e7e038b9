"""The API under requests made from its own schema: whatever comes, it is never a mistake of ours."""

import asyncio
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from naq_client import Queue
from naq_core.settings import Settings
from naq_dashboard import DashboardSettings, create_app
from naq_dashboard.docs.openapi import METHODS, describe
from tests.dashboard.conftest import SECRET
from tests.integration import work

EXAMPLES = 12


def operations() -> list[str]:
    schema = describe("", needs_login=False)
    return sorted(f"{method.upper()} {path}" for path, item in schema["paths"].items() for method in item if method in METHODS)


@pytest.mark.parametrize("operation", operations())
async def test_no_request_is_answered_with_a_server_error(naq_settings: Settings, queue: Queue, operation: str) -> None:
    await queue.enqueue(work.add, 1, 1)
    app = create_app(naq_settings, DashboardSettings(secret=SECRET))
    schema = schemathesis.openapi.from_dict(describe("", needs_login=False))
    method, _, path = operation.partition(" ")
    strategy = schema[path][method].as_strategy()
    cases: list[Any] = []

    @settings(
        max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(st.data())
    def collect(data: Any) -> None:
        cases.append(data.draw(strategy))

    await asyncio.to_thread(collect)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=30) as client:
        for case in cases:
            request = case.as_transport_kwargs(base_url="http://127.0.0.1")
            request.pop("cookies", None)
            if isinstance(request.get("data"), bytes | str):
                request["content"] = request.pop("data")
            try:
                built = client.build_request(**{key: value for key, value in request.items() if key in ARGUMENTS})
            except (httpx.InvalidURL, UnicodeEncodeError, ValueError):
                continue  # no client could send it
            if path == "/api/stream":
                app.state.naq_dashboard.live.end_streams()  # it would never be answered in whole
            answer = await client.send(built)
            assert answer.status_code < 500, f"{built.method} {built.url} {built.content[:300]!r}: {answer.text[:300]}"
    await app.state.naq_dashboard.aclose()


ARGUMENTS = {"method", "url", "json", "content", "data", "headers", "params"}
