"""The blocking client, for programs without an event loop: scripts, Django and Flask views, notebooks."""

from local import naq

from naq_client import SyncQueue, disconnect_sync, task


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@task
def greet(name: str) -> str:
    """Greet."""
    return f"Hello, {name}!"


def main() -> None:
    """Use the same names as in the asynchronous client, without `await`."""
    with SyncQueue() as queue:
        job = queue.enqueue(add, 2, 3)
        print("2 + 3 =", job.result(timeout=10), "state:", job.status())
        jobs = queue.enqueue_many(queue.call(add, n, n) for n in range(3))
        print("doubled:", [each.result(timeout=10) for each in jobs])
    print(greet.enqueue_sync("Ada").result(timeout=10))
    disconnect_sync()  # the connection that tasks share


if __name__ == "__main__":
    with naq():
        main()
