"""What `worker_in_program.py` runs.

It is a module of its own so that hooks and jobs share its variables: a function of the main program travels by
value, with a copy of the variables it uses.
"""

connections: list[str] = []


async def connect() -> None:
    """Open what the jobs need, once per worker."""
    connections.append("database")
    print("connected")


async def disconnect() -> None:
    """Close it again."""
    connections.clear()
    print("disconnected")


async def lookup(key: str) -> str:
    """Use what the hook has opened."""
    return f"{key} found in the {connections[0]}"
