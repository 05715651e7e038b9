"""The promised doors to plain nats-py: a connection, its JetStream context, a work-queue stream."""

import asyncio
from collections.abc import Sequence

import nats.errors
from nats.aio.client import Client
from nats.js.api import RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from naq_core.errors import ConfigurationError
from naq_core.settings import Settings
from naq_core.transport.auth import cannot_connect, wants_tls
from naq_core.transport.link import CONNECT_TIMEOUT
from naq_core.transport.options import connect_options
from naq_core.transport.secure import PlainTextServerError, SecureClient


async def get_nats_connection(url: str | None = None) -> Client:
    """Connect to NATS with NAQ's settings (credentials, TLS, endless reconnects).

    Args:
        url: The server, or a comma list of them; by default the setting `nats_url`.

    Raises:
        BrokerUnavailableError: Nobody answers there within 5 s; `AuthenticationError` where the credentials are refused.
    """
    settings = Settings.load(nats_url=url)
    last: list[BaseException] = []

    async def on_error(error: Exception) -> None:
        last.append(error)

    options = connect_options(settings)
    client = SecureClient()
    client.needs_tls = wants_tls(settings)
    try:
        await asyncio.wait_for(client.connect(**options, error_cb=on_error), CONNECT_TIMEOUT)
    except (OSError, nats.errors.Error, TimeoutError) as error:
        await client.close()
        plain = next((each for each in last if isinstance(each, PlainTextServerError)), None)
        raise cannot_connect(settings, plain or (last[-1] if last else error)) from None
    return client


async def get_jetstream_context(nc: Client) -> JetStreamContext:
    """Return the JetStream context of a connection."""
    return nc.jetstream()


async def ensure_stream(js: JetStreamContext, stream_name: str, subjects: Sequence[str]) -> StreamInfo:
    """Create a file-backed work-queue stream unless it is there.

    Raises:
        ConfigurationError: A stream of that name exists with another retention or other subjects.
    """
    try:
        found = await js.stream_info(stream_name)
    except NotFoundError:
        config = StreamConfig(
            name=stream_name, subjects=list(subjects), retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.FILE
        )
        return await js.add_stream(config)
    if found.config.retention != RetentionPolicy.WORK_QUEUE:
        raise ConfigurationError(f"stream {stream_name}", f"exists with {found.config.retention} retention, not workqueue")
    missing = set(subjects) - set(found.config.subjects or ())
    if missing:
        raise ConfigurationError(f"stream {stream_name}", f"exists and does not take {', '.join(sorted(missing))}")
    return found
