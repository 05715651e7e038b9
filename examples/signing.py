"""Signed jobs: what is not signed with the key is neither decoded nor run, and keys can be changed without a pause."""

import asyncio
import secrets

from naq_client import Queue
from naq_core import Job, JobFailedError, Settings
from naq_core.server import EmbeddedServer
from naq_worker import Worker


async def main(server: EmbeddedServer) -> None:
    """Enqueue with the key, without it, and with the next key."""
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    ours = Settings(nats_url=server.url, signing_key=(old,))
    stranger = Settings(nats_url=server.url)

    async with Queue(settings=ours) as queue, Queue(settings=stranger) as foreign:
        signed, unsigned = await queue.enqueue(sum, [1, 2, 3]), await foreign.enqueue(sum, [4, 5, 6])
        await Worker("default", settings=ours, burst=True).run()
        print("signed:", await signed.result(timeout=10))
        try:
            await unsigned.result(timeout=10)
        except JobFailedError as error:
            print("unsigned:", error)

    both = Settings(nats_url=server.url, signing_key=(new, old))  # the first signs, both verify
    async with Queue(settings=ours) as queue:
        job = await queue.enqueue(sum, [7, 8, 9])
    await Worker("default", settings=both, burst=True).run()
    print("while the key is changed:", await Job.fetch_result(job.job_id, settings=both))


if __name__ == "__main__":
    with EmbeddedServer() as running:
        asyncio.run(main(running))
