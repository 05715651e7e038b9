"""What `worker_in_program.py` runs.

It is a module of its own so that hooks and jobs share its variables: a function of the main program travels by
value, with a copy of the variables it uses.
"""

from collections.abc import AsyncIterator

connections: list[str] = []


async def database() -> AsyncIterator[None]:
    """Open what the jobs need when the worker starts, and close it when the worker ends."""
    connections.append("database")
    print("connected")
    yield
    connections.clear()
    print("disconnected")


async def lookup(key: str) -> str:
    """Use what the hook has opened."""
    return f"{key} found in the {connections[0]}"
