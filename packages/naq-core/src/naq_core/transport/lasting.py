"""nats-py's client, made to come back from everything that a server says.

nats-py closes for good on each `-ERR` that it does not know: credentials that were withdrawn, a message above a lowered
`max_payload`, too many connections. It also reads credentials once, and drops what the server says instead of a greeting.
"""

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Any

import nats.errors

from naq_core.platforms import unsent
from naq_core.transport.secure import SecureClient

ERROR, QUOTE = b"-ERR", "'"
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between two tries to connect to servers that refuse it; each pause is up to twice as long as the one before."""
FORGIVEN_AFTER = 10.0
"""Seconds without a refusal after which the pauses begin at the shortest again."""


class ServerSaidError(nats.errors.Error):
    """An `-ERR` of the server: its last words, where it closes the connection after it."""


class LastingClient(SecureClient):
    """nats-py's client, which only its owner closes."""

    renew: Callable[[], dict[str, Any]] | None = None
    """Returns the connect options that may have changed. Called before a connection that follows a failed one."""

    def __init__(self) -> None:
        super().__init__()
        self.received = 0
        """Bytes that have come from the server, over all connections."""
        self._refusals = 0
        self._refused_at = 0.0
        self._is_stale = False
        """The last try failed when the server had been reached: credentials or certificates may have changed."""

    async def _process_err(self, err_msg: str) -> None:
        """Report what the server says, and read on: it closes the connection where it wants to, and then it is made again."""
        if "permissions violation" in err_msg:
            await self._error_cb(nats.errors.Error(f"nats: {err_msg}"))
        else:
            await self._error_cb(self._refusal(err_msg))

    async def _process_op_err(self, e: Exception) -> None:
        if self.is_connected and (unread := self._unread_words()) is not None:
            await self._error_cb(unread)
        await super()._process_op_err(e)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Note the limit of a server that tells of a new one."""
        await super()._process_info(info, initial_connection=initial_connection)
        self._max_payload = info.get("max_payload", self._max_payload)

    async def _connect_to_server(self, s: Any) -> None:
        await asyncio.sleep(self._pause())
        if self._is_stale and self.renew is not None:
            self._use(self.renew())
        try:
            await super()._connect_to_server(s)
        except ssl.SSLError:
            self._is_stale = True
            raise
        self._overhear()

    async def _process_connect_init(self) -> None:
        self._is_stale = True
        try:
            await super()._process_connect_init()
        except (OSError, nats.errors.Error, TimeoutError) as error:
            if isinstance(error, ServerSaidError) or (unread := self._unread_words()) is None:
                raise
            raise unread from error
        self._is_stale = False

    @property
    def unsent(self) -> int:
        """How many bytes have not reached the peer yet, as far as is known."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is None:
            return self._pending_data_size
        sock = writer.get_extra_info("socket")
        return self._pending_data_size + self._backlog() + (0 if sock is None else unsent(sock))

    def _backlog(self) -> int:
        """Return how many bytes the transport has not handed to the kernel yet."""
        writer = getattr(self._transport, "_io_writer", None)
        return 0 if writer is None else int(writer.transport.get_write_buffer_size())

    def _use(self, options: dict[str, Any]) -> None:
        self.options.update({name: options.get(name) for name in ("user", "password", "token")})
        if "tls" in options:
            self.options["tls"] = options["tls"]
        if self._user_credentials is not None or self._nkeys_seed is not None:
            self._setup_nkeys_connect()

    def _overhear(self) -> None:
        """Raise what a server says instead of a greeting, which nats-py does not look at."""
        transport: Any = self._transport
        readline = type(transport).readline

        async def heard() -> bytes:
            line: bytes = await readline(transport)
            if line.startswith(ERROR):
                raise self._refusal(line[len(ERROR) :].decode(errors="replace"))
            return line

        transport.readline = heard

    def _unread_words(self) -> ServerSaidError | None:
        """Return what the server said last, where an error of the transport kept it from being read."""
        buffer = bytes(getattr(getattr(self._transport, "_io_reader", None), "_buffer", b""))
        line = buffer.rstrip().rpartition(b"\r\n")[2]
        return self._refusal(line[len(ERROR) :].decode(errors="replace")) if line.startswith(ERROR) else None

    def _refusal(self, words: str) -> ServerSaidError:
        now = asyncio.get_running_loop().time()
        self._refusals = 1 if now - self._refused_at > FORGIVEN_AFTER else self._refusals + 1
        self._refused_at = now
        self._is_stale = True
        return ServerSaidError(f"nats: {words.strip().strip(QUOTE).lower()}")

    def _pause(self) -> float:
        """Return how many seconds to wait before the next try; clients that were refused together do not come back together."""
        if not self._refusals or asyncio.get_running_loop().time() - self._refused_at > FORGIVEN_AFTER:
            return 0.0
        longest = min(FIRST_PAUSE * 2 ** (self._refusals - 1), LONGEST_PAUSE)
        return float(longest * random.uniform(0.5, 1))  # noqa: S311 - no secret
