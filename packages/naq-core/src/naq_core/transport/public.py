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
from naq_core.tasks import beside
from naq_core.transport.auth import cannot_connect, is_refusal, wants_tls
from naq_core.transport.link import CONNECT_TIMEOUT
from naq_core.transport.options import connect_options
from naq_core.transport.secure import PlainTextServerError, SecureClient


async def get_nats_connection(url: str | None = None) -> Client:
    """Connect to NATS with NAQ's settings (credentials, TLS, endless reconnects).

    Args:
        url: The server, or a comma list of them; by default the setting `nats_url`.

    Raises:
        BrokerUnavailableError: No server answers there within 5 s. At once: `AuthenticationError` if the credentials are refused,
            `TlsNotOfferedError` where TLS is asked for and no server has it.
    """
    settings = Settings.load(nats_url=url)
    errors: list[Exception] = []
    given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_error(error: Exception) -> None:
        errors.append(error)
        lacks_tls = len(errors) >= len(client.servers) and any(isinstance(each, PlainTextServerError) for each in errors)
        if (lacks_tls or is_refusal(error)) and not given_up.done():
            given_up.set_result(None)

    client = SecureClient()
    client.needs_tls = wants_tls(settings)
    connecting = beside(client.connect(**connect_options(settings), error_cb=on_error), "naq-connect")
    last: BaseException = TimeoutError()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT), connecting as task:
            await asyncio.wait((task, given_up), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return client
    except (OSError, nats.errors.Error, TimeoutError) as error:
        last = error
    except BaseException:  # cancelled
        await client.close()
        raise
    await client.close()
    # What the server has refused counts, and not the reset of the connection that may follow it.
    why = next((each for each in errors if isinstance(each, PlainTextServerError) or is_refusal(each)), None)
    raise cannot_connect(settings, why or (errors[-1] if errors else last))


async def get_jetstream_context(nc: Client) -> JetStreamContext:
    """Return the JetStream context of a connection, in the domain of the setting `jetstream_domain`."""
    return nc.jetstream(domain=Settings.load().jetstream_domain)


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
