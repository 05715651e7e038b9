"""The tasks of `json_serializer.py`: with JSON a function travels as a name, so both sides can import it."""

from naq_client import task


@task
def invoice(number: int, lines: list[float]) -> dict[str, float]:
    """Add up an invoice."""
    return {"number": number, "total": sum(lines)}


def not_a_task() -> str:
    """Be importable, but neither registered nor in NAQ_ALLOWED_FUNCTIONS."""
    return "this must not run"
