"""The `@task` decorator: options beside the function, and a signature that type checkers know."""

import asyncio

from local import naq

from naq_client import disconnect, task


@task(queue="mail", max_retries=3, retry_delay=1)
async def send_mail(to: str, *, subject: str = "Hello") -> str:
    """Pretend to send a mail."""
    return f"{subject!r} sent to {to}"


async def main() -> None:
    """Enqueue, enqueue with other options, and simply call."""
    job = await send_mail.enqueue("ada@example.org", subject="Welcome")
    # send_mail.enqueue(42) is an error for mypy and pyright; job.result() is known to be a str.
    text: str = await job.result(timeout=10)
    print(text)
    other = await send_mail.options(max_retries=0, timeout=5).enqueue("bob@example.org")
    print(await other.result(timeout=10))
    print("called here:", await send_mail("carol@example.org"))
    await disconnect()


if __name__ == "__main__":
    with naq("mail"):
        asyncio.run(main())
