"""nats-py's client, made to keep to TLS where TLS is asked for.

nats-py uses TLS where the *server* asks for it: to an address `tls://…`, or with a certificate authority, it would send user and
password as they are to a server (or to somebody in between) that does not. The wish is of this side, and holds for every server:
those of a list, those that a cluster tells of, and those met at a reconnect.
"""

from typing import Any

import nats.errors
from nats.aio.client import Client

ENCRYPTED_FROM_THE_START = frozenset({"wss"})


class PlainTextServerError(nats.errors.Error):
    """A server does not offer TLS; nothing was sent to it."""

    def __str__(self) -> str:
        return "the server does not offer TLS; nothing was sent"


class SecureClient(Client):
    """nats-py's client, with `needs_tls`."""

    needs_tls = False
    """Send nothing, no credentials above all, to a server that does not offer TLS."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Look at the greeting of a server, which comes before anything is sent to it."""
        if initial_connection and self.needs_tls and not self._is_encrypted:
            if not (info.get("tls_required") or info.get("tls_available")):
                if self._transport is not None:
                    self._transport.close()  # type: ignore[no-untyped-call]  # nats-py's
                raise PlainTextServerError
            info["tls_required"] = True  # of a server that leaves it to its clients
        await super()._process_info(info, initial_connection=initial_connection)

    @property
    def _is_encrypted(self) -> bool:
        return self._current_server is not None and self._current_server.uri.scheme in ENCRYPTED_FROM_THE_START

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Drop what is pending where there is no connection: nats-py writes it even before TLS has begun."""
        if not self.is_connected:
            self._pending = []
            self._pending_data_size = 0
        await super()._close(status, do_cbs)
