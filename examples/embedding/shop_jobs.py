"""The jobs of the web applications here: a module of its own, so that a worker need not import the application."""

from naq_client import task


@task(max_retries=3, retry_delay=1)
async def receipt(order: int) -> str:
    """Pretend to send a receipt."""
    return f"receipt of order {order} sent"


@task
def price(pieces: int, each: int = 7) -> int:
    """Pretend to compute something slow."""
    return pieces * each
