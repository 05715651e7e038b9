"""A hub and a leaf node, each with a JetStream of its own domain."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from naq_core.server import EmbeddedServer


class LeafAndHub:
    """Two servers: the leaf node, to which clients connect, and the hub, which it connects to.

    Args:
        folder: Holds their stores.
        leaf_config: More configuration of the leaf node, such as its users.
    """

    def __init__(self, folder: Path, leaf_config: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        at = f"127.0.0.1:{port}"
        self.hub = EmbeddedServer(config=_config("hub", folder) + f'leafnodes {{ listen: "{at}" }}\n')
        remote = f'leafnodes {{ reconnect: "100ms", remotes: [ {{ url: "nats-leaf://{at}" }} ] }}\n'
        self.leaf = EmbeddedServer(config=_config("leaf", folder) + remote + leaf_config)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.hub)
        self._stack.enter_context(self.leaf)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()


def _config(name: str, folder: Path) -> str:
    return f'server_name: {name}\njetstream: {{ domain: {name}, store_dir: "{folder / name}" }}\n'
