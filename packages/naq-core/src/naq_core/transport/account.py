"""What JetStream is there: asked once after connecting."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import nats.errors

from naq_core.errors import BrokerTimeoutError, JetStreamDisabledError, ServerTooOldError
from naq_core.transport.client import QuickClient
from naq_core.transport.errors import NotReadyError, api_error

NEEDED_API_LEVEL = 2
INFO = "$JS.API.INFO"
PATIENCE = 15.0
"""Seconds for a cluster to elect its leader, before which it does not answer."""
DISABLED = frozenset({10039, 10076})


async def check_server(client: QuickClient, url: str, domain: str | None, check_rights: Callable[[], None]) -> None:
    """Find out whether the server is one that NAQ can use, and note its JetStream domain.

    Args:
        domain: That of its JetStream, for messages.
        check_rights: Raises where the server has refused the question or the answer.

    Raises:
        JetStreamDisabledError: JetStream is off. ServerTooOldError: It lacks what NAQ needs.
        BrokerTimeoutError: There was no answer for 15 s.
    """
    account = await _account(client, url, domain, check_rights)
    client.note_domain(str(account.get("domain", "")))
    level = int(account.get("api", {}).get("level", 0))
    if level < NEEDED_API_LEVEL:
        raise ServerTooOldError(client.server_version, level, NEEDED_API_LEVEL)


async def _account(client: QuickClient, url: str, domain: str | None, check_rights: Callable[[], None]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        try:
            message = await client.request(INFO, timeout=1)
        except nats.errors.NoRespondersError as error:
            raise JetStreamDisabledError(url, domain) from error
        except nats.errors.Error as error:
            check_rights()
            if loop.time() > deadline:
                raise BrokerTimeoutError("JetStream account information", PATIENCE) from error
            continue
        answer: dict[str, Any] = msgspec.json.decode(message.data)
        if "error" not in answer:
            return answer
        if answer["error"].get("err_code") in DISABLED:
            raise JetStreamDisabledError(url, domain)
        refused = api_error("JetStream account information", answer["error"])
        if not isinstance(refused, NotReadyError) or loop.time() > deadline:
            raise refused
        await asyncio.sleep(0.2)
