"""Arguments and results of any size: above a threshold they take the way through the object store by themselves."""

import asyncio
import os
import zlib

from local import naq

from naq_client import Queue
from naq_core import PayloadTooLargeError


def compress(data: bytes) -> bytes:
    """Return the data, compressed."""
    return zlib.compress(data)


async def main() -> None:
    """Send 5 MB, which no NATS message could hold, and get megabytes back."""
    data = os.urandom(1_000_000) * 5
    async with Queue() as queue:
        job = await queue.enqueue(compress, data)
        compressed = await job.result(timeout=30)
        print(f"{len(data):,} bytes sent, {len(compressed):,} came back, same: {zlib.decompress(compressed) == data}")
        record = await job.record()
        print("in the object store:", record is not None and record.large is not None)

    async with Queue(large_threshold=0) as small:
        try:
            await small.enqueue(compress, data)
        except PayloadTooLargeError as error:
            print("without it:", str(error).partition(": pass")[0])


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
