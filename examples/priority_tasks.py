"""The job of `priorities.py`, in a module of its own, which producer and worker share."""

started: list[str] = []


async def work(name: str) -> None:
    """Note that it was started."""
    started.append(name)
