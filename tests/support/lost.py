"""Answers that never arrive: the server has stored a message, and its sender does not learn of it."""

from __future__ import annotations

import asyncio

import pytest

from naq_core import Connection
from naq_core.transport.errors import DisconnectedError


def lose_one_answer(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lose the acknowledgement of the connection's next publish, and return a list to which its subject is added then."""
    post = connection.publisher.post
    lost: list[str] = []

    def losing(subject: str, body: bytes, headers: dict[str, str] | None = None) -> asyncio.Future[int]:
        stored = post(subject, body, headers)
        if lost:
            return stored
        lost.append(subject)
        cut: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        stored.add_done_callback(lambda _: cut.set_exception(DisconnectedError("cut")))
        return cut

    monkeypatch.setattr(connection.publisher, "post", losing)
    return lost


def lose_one_request(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lose the connection's next publish on its way to the server; its sender cannot tell that from a lost answer."""
    post = connection.publisher.post
    lost: list[str] = []

    def losing(subject: str, body: bytes, headers: dict[str, str] | None = None) -> asyncio.Future[int]:
        if lost:
            return post(subject, body, headers)
        lost.append(subject)
        cut: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        cut.set_exception(DisconnectedError("cut"))
        return cut

    monkeypatch.setattr(connection.publisher, "post", losing)
    return lost
