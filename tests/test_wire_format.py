"""`docs/wire-format.md` and its JSON Schema say what the code does."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from naq_client import Queue
from naq_core.storage import subjects
from naq_core.testing import WorkerRunner
from naq_core.transport import headers
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last
from tests.integration import work
from tests.wire_format import DOCUMENTS, PAGE, WRITERS, schema

HEADER = re.compile(r"(?:Nats|Naq|KV)-[\w-]+")


@pytest.mark.parametrize("path", WRITERS, ids=lambda path: path.name)
def test_the_page_and_the_schema_are_those_of_the_code(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == WRITERS[path](), "hatch run wire"


def test_the_page_has_every_header() -> None:
    text = PAGE.read_text(encoding="utf-8")
    known = {value for module in (headers, subjects) for value in vars(module).values() if isinstance(value, str)}
    names = {value for value in known if HEADER.fullmatch(value)}
    assert {"Naq-State", "Naq-First", "Nats-Incr"} <= names
    assert {name for name in names if f"`{name}`" not in text} == set()


def validator(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({**schema(), "$ref": f"#/$defs/{name}"})


def plain(value: Any) -> Any:
    """Return a decoded document as JSON would have it."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case list():
            return [plain(each) for each in value]
        case _:
            return value


def test_every_document_has_a_definition_and_refuses_another() -> None:
    for document in DOCUMENTS:
        assert not validator(document.name).is_valid("nothing of it"), document.name
    assert not validator("Job").is_valid({"v": 1, "id": "a", "fn": "m:f", "ct": "json", "body": "W10=", "at": -1})


async def test_stored_documents_fit_the_schema(queue: Queue, naq_worker: WorkerRunner) -> None:
    connection = await queue.connection()
    names = connection.names
    parent = await queue.options(max_retries=1, tags=["a"], headers={"b": "c"}).enqueue(work.add, 1, 2)
    child = await queue.options(depends_on=[parent], on_dead=["m:f [1]"]).enqueue(work.add, 1)

    async def stored(stream: str, subject: str) -> bytes:
        found: Message | None = await read_last(connection, stream, subject)
        assert found is not None, subject
        return found.data

    job = await stored(names.jobs_stream, names.any_state("default", child.job_id))
    validator("Job").validate(plain(msgspec.msgpack.decode(job)))
    edge = await stored(names.jobs_stream, names.edge(parent.job_id, "default", child.job_id))
    validator("Edge").validate(plain(msgspec.msgpack.decode(edge)))
    await queue.set_limit(3)
    validator("QueueSettings").validate(json.loads(await stored(names.queues_stream, names.queue_setting("default"))))
    async with naq_worker.running() as worker:
        await parent.result(timeout=20)
        validator("Presence").validate(json.loads(await stored(names.workers_stream, names.worker(worker.worker_id))))
    record = await stored(names.results_stream, names.result("default", parent.job_id))
    validator("JobRecord").validate(json.loads(record))
