"""The floor of a worker: plain nats-py, no NAQ, the same messages.

Pull a job, claim it by a compare-and-set on its record, run it, record the end, acknowledge; with `fast`
only pull, run and acknowledge. Everything is pipelined.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from typing import Any

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from naq_cli.bench.stamps import stamps

BATCH = 200
CLAIM = b'{"state":"running","job_id":"0000000000","queue":"bench","function":"tests.benchmarks.jobs:f","worker":"w"}'
END = CLAIM.replace(b"running", b"succeeded")


class FloorWorker:
    def __init__(self, client: Client, namespace: str, *, fast: bool, stamped: bool) -> None:
        self._client = client
        self._records = f"$KV.{namespace}_results.bench."
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{namespace}_jobs.naq-worker-bench"
        self._fast = fast
        self._stamped = stamped
        self._jobs: dict[str, str] = {}
        self._credit = 0
        self._request = json.dumps({"batch": BATCH, "expires": 30_000_000_000}).encode()

    async def run(self) -> None:
        self._inbox = self._client.new_inbox()
        self._answers = self._client.new_inbox()
        no_limit: dict[str, Any] = {"pending_msgs_limit": -1, "pending_bytes_limit": -1}
        await self._client.subscribe(self._inbox, cb=self._on_job, **no_limit)
        await self._client.subscribe(f"{self._answers}.*", cb=self._on_answer, **no_limit)
        await self._ask()
        await asyncio.Event().wait()

    async def _ask(self) -> None:
        self._credit += BATCH
        await self._client.publish(self._next, self._request, reply=self._inbox)

    async def _on_job(self, message: Msg) -> None:
        if not message.reply:
            return
        self._credit -= 1
        if self._credit <= BATCH // 2:
            await self._ask()
        job_id = message.subject.rsplit(".", 1)[1]
        if self._fast:
            self._work(job_id)
            await self._client.publish(message.reply, b"+ACK")
            return
        self._jobs[job_id] = message.reply
        expected = {"Nats-Expected-Last-Subject-Sequence": "0"}
        await self._client.publish(self._records + job_id, CLAIM, reply=f"{self._answers}.c{job_id}", headers=expected)

    async def _on_answer(self, message: Msg) -> None:
        token = message.subject.rsplit(".", 1)[1]
        step, job_id = token[0], token[1:]
        if step == "e":
            await self._client.publish(self._jobs.pop(job_id), b"+ACK")
            return
        sequence = json.loads(message.data)["seq"]
        self._work(job_id)
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(sequence),
            "Nats-TTL": "604800",
            "Naq-State": "succeeded",
        }
        await self._client.publish(self._records + job_id, END, reply=f"{self._answers}.e{job_id}", headers=headers)

    def _work(self, job_id: str) -> None:
        if self._stamped:
            slot = int(job_id)
            stamps().begin(slot)
            stamps().finish(slot)


async def main(url: str, namespace: str, mode: str) -> None:
    client = await nats.connect(url)
    worker = FloorWorker(client, namespace, fast=mode == "fast", stamped=mode != "unstamped")
    running = asyncio.ensure_future(worker.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await client.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
