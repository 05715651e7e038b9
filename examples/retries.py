"""Retries: which errors are worth another attempt, and when."""

import asyncio

from local import naq

from naq_client import Queue
from naq_core import JobFailedError, current_job


def flaky() -> str:
    """Fail twice with an error that is worth another attempt."""
    attempt = current_job().attempt
    if attempt < 3:
        raise ConnectionError(f"no answer at attempt {attempt}")
    return f"done at attempt {attempt}"


def hopeless() -> None:
    """Fail in a way that no repetition mends."""
    raise ValueError("the input is wrong")


async def main() -> None:
    """Enqueue both with the same options."""
    async with Queue() as queue:
        careful = queue.options(max_retries=5, retry_delay=[0.1, 0.2, 1], retry_on=[ConnectionError])
        job = await careful.enqueue(flaky)
        print(await job.result(timeout=10))
        record = await job.record()
        for error in record.errors if record else []:
            print(f"  attempt {error.attempt}: {error.type}: {error.message}")
        try:
            await (await careful.enqueue(hopeless)).result(timeout=10)
        except JobFailedError as error:
            print("not retried:", str(error).splitlines()[0])


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
