"""Webhooks, sent to a real HTTP server."""

import base64
import contextvars
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from naq_client import JobOutcome, JobState, Queue, Retry
from naq_core import ConfigurationError, InvalidOptionError, JobContext, Settings, WebhookError, WebhookRefusedError, inspect
from naq_core.context import set_current_job
from naq_core.option_set import OptionSet
from naq_core.webhook import LONGEST_BODY, send, webhook
from tests.conftest import RunWorker
from tests.integration import work
from tests.integration.test_callbacks import end_of, told

KEY = b"k" * 32
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


class Receiver:
    """A server that gives the answers it is told to, and then 204."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAQ_WEBHOOK_SECRET", SECRET)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


DONE = JobOutcome("job-1", JobState.SUCCEEDED, ended_at=datetime(2026, 1, 1, tzinfo=UTC), _result=("json", b"[1]", "pickle"))


def post(url: str, outcome: JobOutcome = DONE) -> int:
    """Send as the job `hook-1` does."""

    def run() -> int:
        set_current_job(JobContext("hook-1", "default", "naq_core.webhook:send", 1, datetime.now(UTC)))
        return send(outcome, url)

    return contextvars.copy_context().run(run)


def expected_signature(headers: dict[str, str], body: bytes, key: bytes = KEY) -> str:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def test_the_signature_is_that_of_standard_webhooks(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    other = f"whsec_{base64.b64encode(b'o' * 24).decode()}"
    monkeypatch.setenv("NAQ_WEBHOOK_SECRET", f"{SECRET},{other}")
    assert post(receiver.url) == 204
    ((headers, body),) = receiver.requests
    assert headers["webhook-id"] == "hook-1"
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 600
    assert headers["webhook-signature"].split(" ") == [
        expected_signature(headers, body),
        expected_signature(headers, body, b"o" * 24),
    ]
    sent = json.loads(body)
    assert (sent["type"], sent["timestamp"]) == ("job.succeeded", "2026-01-01T00:00:00+00:00")
    assert (sent["data"]["job_id"], sent["data"]["result"]) == ("job-1", [1])


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_receiver_that_is_busy_is_asked_again(status: int, receiver: Receiver) -> None:
    receiver.answers.append((status, {}))
    with pytest.raises(WebhookError, match=f"127.0.0.1:\\d+ answered {status}") as caught:
        post(receiver.url)
    assert type(caught.value) is WebhookError


@pytest.mark.parametrize("status", [301, 302, 307, 400, 403, 404, 410])
def test_a_receiver_that_refuses_is_not_asked_again_and_no_redirect_is_followed(status: int, receiver: Receiver) -> None:
    receiver.answers.append((status, {"Location": receiver.url}))
    with pytest.raises(WebhookRefusedError, match=f"answered {status}"):
        post(receiver.url)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("7", 7, 7), ("0", 1, 1), ("9999999", 86_400, 86_400), (timedelta(seconds=90), 60, 90), (timedelta(seconds=-9), 1, 1)],
)
def test_the_receiver_says_when_to_come_again(value: Any, least: float, most: float, receiver: Receiver) -> None:
    text = value if isinstance(value, str) else format_datetime(datetime.now(UTC) + value, usegmt=True)
    receiver.answers.append((503, {"Retry-After": text}))
    with pytest.raises(Retry) as caught:
        post(receiver.url)
    assert caught.value.delay is not None
    assert least <= caught.value.delay <= most


def test_nonsense_in_retry_after_is_passed_over(receiver: Receiver) -> None:
    receiver.answers.append((503, {"Retry-After": "soon"}))
    with pytest.raises(WebhookError, match="answered 503 Service Unavailable"):
        post(receiver.url)


def test_a_receiver_that_is_not_there_or_breaks_off_is_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"

        def hang_up() -> None:
            connection, _ = silent.accept()
            connection.recv(10)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(WebhookError, match="cannot be reached"):
            post(f"http://{address}/")
        thread.join()
    with pytest.raises(WebhookError, match=f"{address} cannot be reached: .*refused"):
        post(f"http://{address}/")


def test_a_long_result_is_left_out(receiver: Receiver) -> None:
    long = JobOutcome("job-1", JobState.SUCCEEDED, _result=("json", json.dumps("x" * LONGEST_BODY).encode(), "pickle"))
    post(receiver.url, long)
    assert json.loads(receiver.requests[0][1])["data"]["result"] is None
    with pytest.raises(WebhookRefusedError, match="without its result"):
        post(receiver.url, JobOutcome("job-1", JobState.DEAD, reason="x" * LONGEST_BODY))


def test_nothing_is_sent_unsigned(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAQ_WEBHOOK_SECRET")
    with pytest.raises(ConfigurationError, match="NAQ_WEBHOOK_SECRET"):
        post(receiver.url)
    assert receiver.requests == []
    wrong: Any
    for wrong in ("k" * 40, "whsec_", "whsec_c2hvcnQ=", "whsec_!", "", []):
        with pytest.raises(ConfigurationError) as caught:
            Settings.load(webhook_secret=wrong)
        assert "c2hvcnQ" not in str(caught.value)
    assert SECRET not in repr(Settings.load(webhook_secret=SECRET))


@pytest.mark.parametrize(
    "url", ["", "ftp://host/", "file:///etc/passwd", "https://", "http://host:0/", "host/path", "http://a b/", "http://h/\n", 7]
)
def test_what_is_no_address_is_refused(url: Any) -> None:
    with pytest.raises(InvalidOptionError, match="is not an address: use https://host/path"):
        webhook(url)


def test_an_address_with_a_password_is_refused_without_it() -> None:
    with pytest.raises(InvalidOptionError, match="must not hold a user or a password") as caught:
        webhook("https://ada:geheim@example.org/")
    assert "geheim" not in str(caught.value)


async def test_a_job_is_told_of_by_http_until_it_is_accepted(receiver: Receiver, queue: Queue, run_worker: RunWorker) -> None:
    """By `webhook` and by name: with retries, the same id at each, and the options of the task where none are given."""
    receiver.answers += [(500, {}), (503, {"Retry-After": "1"})]
    options = queue.options(
        on_success=webhook(receiver.url, retry_delay=0.01), on_failure=f'naq_core.webhook:send ["{receiver.url}"]'
    )
    async with run_worker():
        record = await end_of(queue, await options.enqueue(work.returned, {"total": 3}))
        assert await told(queue, record, "on_success") == 204
        failed = await end_of(queue, await options.enqueue(work.fail, "no luck"))
        assert await told(queue, failed) == 204
    bodies = [json.loads(body) for _, body in receiver.requests]
    assert len({headers["webhook-id"] for headers, _ in receiver.requests[:3]}) == 1
    assert len(receiver.requests) == 4
    assert [body["data"]["result"] for body in bodies] == [{"total": 3}] * 3 + [None]
    assert (bodies[3]["type"], bodies[3]["data"]["error"]["message"]) == ("job.dead", "no luck")
    jobs = (await inspect.list_jobs(await queue.connection())).jobs
    assert all(SECRET not in repr(job) for job in jobs)


def test_its_options_can_be_changed() -> None:
    found = webhook("https://example.org/", queue="hooks", max_retries=2, timeout=5)
    assert (found.queue, found.given) == ("hooks", ("max_retries", "timeout"))
    assert OptionSet({"on_dead": [found]}).job.on_dead == (found,)
    with pytest.raises(InvalidOptionError, match="is not an option of a webhook"):
        webhook("https://example.org/", on_success="m:f")
