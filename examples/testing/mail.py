"""What `test_mail.py` tests: a task, and code that enqueues it."""

from naq_client import task


@task(queue="mail", max_retries=1, retry_delay=0.1)
async def send(address: str, subject: str) -> str:
    """Pretend to send a mail."""
    if "@" not in address:
        raise ValueError(f"{address!r} is no mail address")
    return f"{subject!r} sent to {address}"


async def sign_up(address: str) -> str:
    """Welcome a new user in the background, and return the job's id."""
    job = await send.enqueue(address, subject="Welcome")
    return job.job_id
