"""Looks at the server past NAQ's own code, so that a fault in that code cannot hide itself."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import nats
import nats.errors
from nats.aio.client import Client

from naq_core import Settings
from naq_core.record import JobRecord, decode_record
from naq_core.storage.subjects import Names

REPLY_SECONDS = 5.0
AT_ONCE = 64


class Observer:
    """A NATS connection of its own for reading records, counting messages and planting garbage.

    Args:
        settings: Names the server and the namespace.
    """

    def __init__(self, settings: Settings) -> None:
        self.names = Names(settings.namespace)
        self._url = settings.nats_url
        self._client: Client | None = None
        self._gate = asyncio.Semaphore(AT_ONCE)

    @property
    def client(self) -> Client:
        """The open connection."""
        assert self._client is not None
        return self._client

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(
            self._url.split(","), max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_ignore
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        closing = asyncio.ensure_future(self.client.close())
        await asyncio.wait([closing], timeout=2)  # nats-py may wait for ever, for a cancellation that was swallowed

    async def record(self, queue: str, job_id: str) -> JobRecord | None:
        """Return a job's record, or None while there is none or no server to ask."""
        subject = self.names.result(queue, job_id)
        try:
            async with self._gate:
                reply = await self.client.request(f"$JS.API.DIRECT.GET.{self.names.results_stream}.{subject}", b"", REPLY_SECONDS)
        except (nats.errors.Error, TimeoutError):
            return None
        if not reply.data or (reply.headers or {}).get("Status"):
            return None
        return decode_record(reply.data)

    async def records(self, queue: str, job_ids: Iterable[str]) -> dict[str, JobRecord]:
        """Return the records that exist, by job id."""
        found = await asyncio.gather(*(self.record(queue, job_id) for job_id in job_ids))
        return {record.job_id: record for record in found if record is not None}

    async def live(self, queue: str) -> Counter[str]:
        """Count the queue's stored jobs by the state token of their subjects."""
        pattern = f"{self.names.jobs}.*.{queue}.*"
        info = await self._api(f"STREAM.INFO.{self.names.jobs_stream}", {"subjects_filter": pattern})
        subjects: dict[str, int] = info["state"].get("subjects") or {}
        counts: Counter[str] = Counter()
        for subject, count in subjects.items():
            counts[subject.split(".")[-3]] += count
        return counts

    async def ack_pending(self, queue: str) -> int:
        """Count the messages that are delivered and not settled."""
        name = f"{self.names.jobs_stream}.{self.names.consumer(queue)}"
        info = await self._api(f"CONSUMER.INFO.{name}", {})
        return int(info["num_ack_pending"])

    async def asking(self, queue: str) -> int:
        """Count the requests for jobs that wait at the server."""
        name = f"{self.names.jobs_stream}.{self.names.consumer(queue)}"
        info = await self._api(f"CONSUMER.INFO.{name}", {})
        return int(info["num_waiting"])

    async def leftovers(self, queue: str, most: int = 5) -> str:
        """Say what is known of the first jobs that are still stored, and of the consumer that should deliver them."""
        stream = self.names.jobs_stream
        consumer = await self._api(f"CONSUMER.INFO.{stream}.{self.names.consumer(queue)}", {})
        told = [", ".join(f"{name}: {consumer[name]}" for name in ("delivered", "ack_floor", "num_ack_pending", "num_pending"))]
        info = await self._api(f"STREAM.INFO.{stream}", {"subjects_filter": f"{self.names.jobs}.*.{queue}.*"})
        for subject in list(info["state"].get("subjects") or ())[:most]:
            message = (await self._api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}))["message"]
            record = await self.record(queue, subject.rpartition(".")[2])
            told.append(f"{subject} (sequence {message['seq']}): {record and (record.state, record.attempt, record.worker)}")
        return "\n".join(told)

    async def workers(self) -> int:
        """Count the workers that have announced themselves."""
        presences = {"subjects_filter": self.names.worker("*")}  # beside what is kept of workers that have ended
        info = await self._api(f"STREAM.INFO.{self.names.workers_stream}", presences)
        return len(info["state"].get("subjects") or ())

    async def gauges(self, queue: str) -> dict[str, int]:
        """Return what must be back at its base line after a test."""
        info = await self._api(f"STREAM.INFO.{self.names.jobs_stream}", {})
        return {
            "consumers": info["state"]["consumer_count"],
            "messages": info["state"]["messages"],
            "ack_pending": await self.ack_pending(queue),
        }

    async def plant(self, queue: str, job_id: str, body: bytes, **headers: str) -> None:
        """Publish arbitrary bytes where a ready job would be."""
        reply = await self.client.request(self.names.ready(queue, job_id), body, REPLY_SECONDS, headers=headers or None)
        assert "error" not in json.loads(reply.data), reply.data

    async def stored(self, queue: str, job_id: str) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of a job's ready message."""
        reply = await self.client.request(
            f"$JS.API.DIRECT.GET.{self.names.jobs_stream}.{self.names.ready(queue, job_id)}",
            b"",
            REPLY_SECONDS,
        )
        headers = dict(reply.headers or {})
        assert "Status" not in headers, headers
        return reply.data, {k: v for k, v in headers.items() if not k.startswith("Nats-")}

    async def _api(self, subject: str, request: dict[str, Any]) -> dict[str, Any]:
        """Ask the JetStream API; no answer is an AssertionError, so that `eventually` asks again."""
        try:
            reply = await self.client.request(f"$JS.API.{subject}", json.dumps(request).encode(), REPLY_SECONDS)
        except nats.errors.Error as error:
            raise AssertionError(f"{subject}: {error!r}") from error
        answer: dict[str, Any] = json.loads(reply.data)
        assert "error" not in answer, answer["error"]
        return answer


async def _ignore(_: Exception) -> None:
    """Take connection errors as they come: the tests cause them."""
