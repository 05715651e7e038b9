"""A producer without any library: a socket, the lines of the NATS protocol, and a few bytes of MessagePack.

`docs/wire-format.md` explains what is written and read here, for producers in other languages.
"""

import json
import re
import socket
import struct
import subprocess
import sys
import time
import uuid
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from local import naq

QUEUE = "default"
FINAL = {"succeeded", "dead", "cancelled", "expired"}


class Reply(NamedTuple):
    """A message that the server has sent."""

    headers: dict[str, str]
    body: bytes


class Plain:
    """A connection that speaks the protocol of NATS."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname or "127.0.0.1", address.port or 4222), timeout=30)
        self._lines = self._socket.makefile("rb")
        self._lines.readline()  # INFO {…}
        self._inbox = f"_INBOX.{uuid.uuid4().hex}"
        self._kept: list[tuple[str, Reply]] = []
        self._send('CONNECT {"verbose":false,"headers":true,"no_responders":true,"lang":"none","version":"1"}')
        self.subscribe(f"{self._inbox}.*")

    def _send(self, line: str, body: bytes | None = None) -> None:
        self._socket.sendall(line.encode() + b"\r\n" + (b"" if body is None else body + b"\r\n"))

    def subscribe(self, subject: str) -> None:
        """Get the messages of a subject."""
        self._send(f"SUB {subject} 1")

    def request(self, subject: str, body: bytes = b"", headers: dict[str, object] | None = None) -> Reply:
        """Publish, and return the answer."""
        reply = f"{self._inbox}.{uuid.uuid4().hex}"
        block = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"NATS/1.0\r\n{block}\r\n".encode()
        self._send(f"HPUB {subject} {reply} {len(head)} {len(head) + len(body)}", head + body)
        return self.next(reply)

    def next(self, subject: str) -> Reply:
        """Return the next message of a subject; those of other subjects are kept until they are asked for."""
        for kept in self._kept:
            if kept[0] == subject:
                self._kept.remove(kept)
                return kept[1]
        while True:
            verb, *words = self._lines.readline().decode().split()
            if verb == "PING":
                self._send("PONG")
            elif verb == "-ERR":
                raise OSError(" ".join(words))
            elif verb in {"MSG", "HMSG"}:
                size, head = int(words[-1]), int(words[-2]) if verb == "HMSG" else 0
                data = self._lines.read(size + 2)[:-2]
                if data.startswith(b"NATS/1.0 503"):
                    raise OSError(f"nobody answers at {subject}: there is no such stream")
                reply = Reply(dict(re.findall(r"^([\w-]+): *(.*?)\r$", data[:head].decode(), re.MULTILINE)), data[head:])
                if words[0] == subject:
                    return reply
                self._kept.append((words[0], reply))


def packed(value: Any) -> bytes:
    """Return a value as MessagePack, in its longest forms."""
    match value:
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return b"\xd3" + struct.pack(">q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
        case bytes():
            return b"\xc6" + struct.pack(">I", len(value)) + value
        case list():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))
        case dict():
            items = b"".join(packed(key) + packed(each) for key, each in value.items())
            return b"\xdf" + struct.pack(">I", len(value)) + items
        case _:
            raise TypeError(f"{value!r} is not one of these types")


def enqueue(server: Plain, job_id: str, function: str, *args: Any, delay: float = 0.0) -> bool:
    """Store a job; return whether it is new. Storing it again changes nothing: after its end, a worker finds its record."""
    body = json.dumps([args, {}]).encode()
    job = {"v": 1, "id": job_id, "fn": function, "ct": "json", "body": body, "at": time.time(), "given": []}
    headers: dict[str, object] = {
        "Nats-Expected-Last-Subject-Sequence": 0,
        "Nats-Expected-Last-Subject-Sequence-Subject": f"naq.jobs.*.{QUEUE}.{job_id}",
    }
    subject = f"naq.jobs.normal.{QUEUE}.{job_id}"
    if delay:
        due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + delay))
        headers |= {"Nats-Schedule": f"@at {due}", "Nats-Schedule-Target": subject}
        subject = f"naq.jobs.held.{QUEUE}.{job_id}"
    answer = json.loads(server.request(subject, packed(job), headers).body)
    if "error" in answer and answer["error"]["err_code"] not in {10071, 10164}:  # wrong last sequence: the id is in use
        raise OSError(answer["error"]["description"])
    return "error" not in answer


def record_of(server: Plain, job_id: str) -> tuple[dict[str, Any], int]:
    """Return a job's record and its revision; nothing and 0 where there is none yet."""
    found = server.request(f"$JS.API.DIRECT.GET.KV_naq_results.$KV.naq_results.{QUEUE}.{job_id}")
    return (json.loads(found.body), int(found.headers["Nats-Sequence"])) if found.body else ({}, 0)


def wait_for(server: Plain, job_id: str) -> dict[str, Any]:
    """Wait for the end of a job, and return its record."""
    event = f"naq.event.results.{QUEUE}.{job_id}"
    server.subscribe(event)  # before the first look, so that the end comes either here or there
    record, _ = record_of(server, job_id)
    while record.get("state") not in FINAL:
        if server.next(event).headers["Naq-State"] in FINAL:
            record, _ = record_of(server, job_id)
    return record


def cancel(server: Plain, job_id: str, function: str) -> bool:
    """Cancel a job that waits; return False where it has begun or ended. No worker can begin it from then on."""
    record, revision = record_of(server, job_id)
    if record.get("state", "queued") != "queued":
        return False
    known = {"job_id": job_id, "queue": QUEUE, "function": function, "attempt": 0}
    record = known | record | {"state": "cancelled", "ended_at": time.time(), "reason": "not needed"}
    headers: dict[str, object] = {
        "Nats-Expected-Last-Subject-Sequence": revision,
        "Naq-State": "cancelled",
        "Naq-About": f"{record['attempt']} - {function}",
        "Nats-TTL": "2592000s",
    }
    answer = server.request(f"$KV.naq_results.{QUEUE}.{job_id}", json.dumps(record).encode(), headers)
    if "error" in json.loads(answer.body):
        return False
    keep(server, job_id)
    return True


def waiting(server: Plain, job_id: str) -> Reply:
    """Return the message of a job that waits for its time; one without a body where there is none."""
    return server.request(f"$JS.API.DIRECT.GET.naq_jobs.naq.jobs.held.{QUEUE}.{job_id}")


def keep(server: Plain, job_id: str) -> None:
    """Move a cancelled job that waits for its time out of its queue, where it can be retried by hand.

    A ready one of `enqueue` stays: the worker that gets it reads the record first, and moves it.
    """
    message = waiting(server, job_id)
    if not message.body:
        return
    headers: dict[str, object] = {
        "Nats-Expected-Last-Subject-Sequence": message.headers["Nats-Sequence"],
        "Nats-Expected-Last-Subject-Sequence-Subject": f"naq.jobs.*.{QUEUE}.{job_id}",
        "Nats-Scheduler": f"naq.jobs.held.{QUEUE}.{job_id}",
        "Nats-Schedule-Next": "purge",
        "Nats-Schedule": "@at 2200-01-01T00:00:00Z",
        "Nats-Schedule-Target": message.headers["Nats-Schedule-Target"],
        "Nats-TTL": "2592000s",
    }
    server.request(f"naq.jobs.kept.{QUEUE}.{job_id}", message.body, headers)  # refused where somebody else has moved it


def main(url: str) -> None:
    """Enqueue, await and cancel."""
    server = Plain(url)
    job_id = uuid.uuid4().hex
    print("new:", enqueue(server, job_id, "operator:mul", 6, 7))
    record = wait_for(server, job_id)
    print("result:", record["state"], record["result_type"], record["result"], "by", record["function"])

    print("stored:", enqueue(server, "tomorrow", "operator:mul", 1, 1, delay=86400), "and again:", end=" ")
    print(enqueue(server, "tomorrow", "operator:mul", 1, 1, delay=86400))
    print("cancelled:", cancel(server, "tomorrow", "operator:mul"), "and again:", cancel(server, "tomorrow", "operator:mul"))
    print("its record:", wait_for(server, "tomorrow")["reason"], "and it still waits:", bool(waiting(server, "tomorrow").body))


if __name__ == "__main__":
    with naq(NAQ_JOB_SERIALIZER="json", NAQ_ALLOWED_FUNCTIONS="operator:mul") as address:
        subprocess.run([sys.executable, "-m", "naq_cli", "setup", QUEUE], check=True, stdout=subprocess.DEVNULL)
        main(address)
