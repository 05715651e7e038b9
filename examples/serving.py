"""What the examples of the dashboard share: a web server in a thread, and a look at what it answers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import uvicorn


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on a free port, and yield its address."""
    # Without the timeout uvicorn waits at its end for the live streams of open pages, for ever.
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def ask(address: str, **headers: str) -> tuple[int, Message, str]:
    """Return status, headers and text of what is at an address."""
    request = Request(address, headers=headers)  # noqa: S310 - it is our own server's
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers, HTTPStatus(error.code).phrase


def first_line(address: str, **headers: str) -> str:
    """Return the first line of a stream that does not end by itself."""
    with urlopen(Request(address, headers=headers), timeout=30) as answer:  # noqa: S310 - as above
        return str(answer.readline().decode().strip())
