"""From NAQ's settings to nats-py's connect options."""

import ssl
from typing import Any

from naq_core.errors import ConfigurationError
from naq_core.settings import Settings

PING_INTERVAL = 2


def connect_options(settings: Settings) -> dict[str, Any]:
    """Return nats-py's connect options for the settings.

    Raises:
        ConfigurationError: A TLS file cannot be read.
    """
    options: dict[str, Any] = {
        "servers": [each.strip() for each in settings.nats_url.split(",")],
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
    }
    if settings.nats_tls_ca or settings.nats_tls_cert:
        try:
            context = ssl.create_default_context(cafile=settings.nats_tls_ca)
            if settings.nats_tls_cert:
                context.load_cert_chain(settings.nats_tls_cert, settings.nats_tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError("nats_tls_ca, nats_tls_cert, nats_tls_key", f"cannot load the TLS files: {error}") from error
        options["tls"] = context
    return {key: value for key, value in options.items() if value is not None}
