"""Numbers in sentences."""

__all__ = ["counted", "were"]


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 0 jobs, 1 job, 1,204 jobs. The plural of the noun must be formed with an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def were(count: int) -> str:
    """Return the verb of a sentence that begins with that number."""
    return "was" if count == 1 else "were"
