"""A module that no worker imports before a job names it."""


def answer() -> int:
    """Return the answer."""
    return 42
