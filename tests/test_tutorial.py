"""The tutorial's program runs as its reader runs it, and the tutorial shows no line that the program does not have."""

from __future__ import annotations

import ast
import io
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from PIL import Image

from naq_core.settings import Settings
from tests.cli.commands import naq, started, wait_for_line
from tests.support.eventually import eventually

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "examples" / "tutorial"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EARLIER = {"for width in WIDTHS:", "job = await request.app.state.queue.enqueue(make_thumbnails, name)", "..."}
"""Lines of earlier steps, which later ones replace."""


class Postbox(MessageHandler):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.messages.append(message)


@pytest.fixture
def postbox() -> Iterator[tuple[Postbox, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    box = Postbox()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), "teal").save(file, "PNG")
    return file.getvalue()


def followed(client: httpx.Client, job: str) -> list[dict[str, Any]]:
    """Return what the page is sent until the job has ended."""
    with client.stream("GET", f"/jobs/{job}") as stream:
        return [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line]


async def test_photos_become_thumbnails_mail_and_a_report(
    settings: Settings, postbox: tuple[Postbox, int], tmp_path: Path
) -> None:
    box, port = postbox
    here: dict[str, Any] = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    site = {**here, "PYTHONPATH": str(PROGRAM), "PHOTOS": str(tmp_path), "MAIL_PORT": str(port)}

    async def mail(subject: str) -> Message:
        def found() -> list[Message]:
            messages = [each for each in box.messages if each["Subject"] == subject]
            assert messages
            return messages

        return (await eventually(found))[0]

    with ExitStack() as stack:
        worker = stack.enter_context(started("naq_worker", "default", "mail", "--imports", "photos", **site))
        stack.enter_context(started("naq_scheduler", "--imports", "photos", **site))
        server = stack.enter_context(started("uvicorn", "web:app", "--port", "0", **site))
        address = re.search(r"http://127\.0\.0\.1:\d+", wait_for_line(server.stderr, "running on"))
        assert address is not None
        wait_for_line(worker.stderr, "takes jobs from")
        client = stack.enter_context(httpx.Client(base_url=address[0], timeout=60))
        assert "<form>" in client.get("/").text

        job = client.post("/photos", params={"mail": "ada@example.org"}, content=picture()).json()["job"]
        seen = followed(client, job)
        assert seen[-1]["state"] == "succeeded"
        assert (seen[-1]["done"], seen[-1]["total"]) == (5, 5)
        smallest = client.get(f"/thumbnails/{seen[-1]['thumbnails'][-1]}")
        assert Image.open(io.BytesIO(smallest.content)).size == (100, 50)
        ready = await mail("Your photo is ready")
        assert (ready["To"], str(ready.get_payload()).strip()) == ("ada@example.org", "It has 5 sizes now.")

        job = client.post("/photos", params={"mail": "bob@example.org"}, content=b"not a photo").json()["job"]
        assert followed(client, job)[-1]["state"] == "dead"
        assert (await mail("We cannot read your photo"))["To"] == "bob@example.org"
        assert client.get("/jobs/nobody").status_code == 404
        assert client.get("/thumbnails/nothing.jpg").status_code == 404

        await eventually(lambda: "report" in naq("schedule", "list", "-q", **here).stdout)
        assert naq("schedule", "trigger", "report", **here).returncode == 0
        assert str((await mail("Photos of the last 24 hours")).get_payload()).strip() == "There were 2."


def test_the_tutorial_shows_the_program() -> None:
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    programs = [path.read_text(encoding="utf-8") for path in sorted(PROGRAM.glob("*.py"))]
    lines = {line.strip() for program in programs for line in program.splitlines()} | EARLIER
    names = {name for program in programs for name in imported(program)}
    shown = [line for block in BLOCK.findall(tutorial) for line in block.splitlines()]
    assert [line for line in shown if line.strip() not in lines and "import " not in line] == []
    assert {name for block in BLOCK.findall(tutorial) for name in imported(block)} <= names


def imported(program: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
