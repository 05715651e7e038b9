"""From NAQ's settings to nats-py's connect options."""

from typing import Any

from naq_core.settings import Settings
from naq_core.transport.auth import check_credentials, server_addresses, tls_context

PING_INTERVAL = 2


def connect_options(settings: Settings) -> dict[str, Any]:
    """Return nats-py's connect options for the settings.

    Raises:
        ConfigurationError: A file of credentials, a seed or a certificate cannot be used.
    """
    check_credentials(settings)
    options: dict[str, Any] = {
        "servers": server_addresses(settings),
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.1,
        "ping_interval": PING_INTERVAL,
        "max_outstanding_pings": 2,
        "connect_timeout": 2,
        "user": settings.nats_user,
        "password": settings.nats_password,
        "token": settings.nats_token,
        "user_credentials": settings.nats_creds,
        "nkeys_seed": settings.nats_nkey,
        "inbox_prefix": settings.nats_inbox_prefix.encode(),
        "tls": tls_context(settings),
    }
    return {key: value for key, value in options.items() if value is not None}
