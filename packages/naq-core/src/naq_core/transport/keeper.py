"""Creates the streams and consumers of a connection again where somebody has deleted them: once, for all callers.

What was created or found by `topology` is registered here. An answer that says that it is missing leads to `restore`, from
`JetStream` for publishing, reading and API calls alike; a process that only waits asks for `check`, every few seconds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import msgspec

from naq_core.errors import BrokerError, JetStreamError, MissingError, NaqError, PermissionDeniedError
from naq_core.transport.errors import CLIENT_ERRORS, NotReadyError, api_error

if TYPE_CHECKING:
    from naq_core.transport.jetstream import JetStream

log = logging.getLogger(__name__)

STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
NAME_IN_USE = frozenset({10058, 10065})
PATIENCE = 2.0
"""Seconds to wait for the server's answer."""
PAUSE = 0.5
"""Seconds after which a stream that was found is looked at again: it may only be without a leader."""
REFUSED_PAUSE = 5.0
"""Seconds after which what could not be created is tried again."""
CHECK_INTERVAL = 5.0
MOST_CHECKED = 50
"""Consumers that one `check` looks at; the next goes on with the next ones."""
AT_ONCE = 64

Create: TypeAlias = Callable[[], Awaitable[bool]]
"""Creates a consumer that is missing; returns whether it did it, and not another process."""


class Keeper:
    """What one connection needs on the server. Used from its event loop."""

    def __init__(self, connection: "JetStream") -> None:
        self._connection = connection
        self._streams: dict[str, dict[str, Any]] = {}
        self._consumers: dict[str, tuple[str, Create]] = {}
        """The stream of each, and what creates it."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._made: dict[str, int] = {}
        """How often each was created again."""
        self._not_before: dict[str, float] = {}
        self._refused: dict[str, MissingError] = {}
        self._checked = 0
        self._loop = asyncio.get_running_loop()

    def keep_stream(self, config: dict[str, Any]) -> None:
        """Create this stream again from now on when it is found missing."""
        self._streams[config["name"]] = config

    def keep_consumer(self, stream: str, consumer: str, create: Create) -> None:
        """Create this consumer of a stream again from now on when it is found missing."""
        self._consumers[consumer] = stream, create

    def forget_consumer(self, consumer: str) -> None:
        """Keep this consumer no longer: its queue was deleted on purpose."""
        self._consumers.pop(consumer, None)

    def forget(self) -> None:
        """Keep nothing any more: the namespace is being deleted."""
        self._streams.clear()
        self._consumers.clear()

    def stream_of(self, subject: str) -> str:
        """Return the kept stream that takes a subject, or that an API subject is about; empty without one."""
        if subject.startswith("$JS.API."):
            return next((token for token in subject.split(".")[3:6] if token in self._streams), "")
        for name, config in self._streams.items():
            if any(subject.startswith(each.removesuffix(">")) for each in config["subjects"]):
                return name
        return ""

    async def restore(self, name: str) -> bool:
        """Create a stream (or consumer) again if it is missing.

        Returns:
            Whether it is there again, so that what failed is to be repeated at once. False: it is not missing (but without
            a leader, or its server is away), or not kept; then the caller waits as for any server that does not answer.

        Raises:
            MissingError: It is missing, and this user may not create it, or the server refuses.
        """
        if name not in self._streams and name not in self._consumers:
            return False
        made = self._made.get(name, 0)
        async with self._locks.setdefault(name, asyncio.Lock()):
            if self._made.get(name, 0) != made:
                return True  # another caller has done it meanwhile
            if self._loop.time() < self._not_before.get(name, 0.0):
                if name in self._refused:
                    raise self._refused[name]
                return False
            pause = PAUSE
            try:
                is_made = await self._restore(name)
            except MissingError:
                pause = REFUSED_PAUSE
                raise
            finally:
                self._not_before[name] = self._loop.time() + pause
        return is_made

    async def lacks(self, stream: str) -> bool:
        """Whether a stream that is not kept does not exist, as the server says: nothing of it can be read."""
        if stream in self._streams:
            return False
        try:
            await self._ask(f"STREAM.INFO.{stream}")
        except JetStreamError as error:
            return error.err_code == STREAM_NOT_FOUND
        except (NaqError, *CLIENT_ERRORS) as error:
            log.debug("cannot check whether %s exists: %r", stream, error)
        return False

    async def _restore(self, name: str) -> bool:
        is_stream = name in self._streams
        try:
            if not await self._is_missing(name):
                self._refused.pop(name, None)
                return False
        except (NaqError, *CLIENT_ERRORS) as error:
            log.debug("cannot check whether %s exists: %r", name, error)
            return False
        try:
            is_ours = await (self._create_stream(name) if is_stream else self._consumers[name][1]())
        except NotReadyError:
            return False
        except (JetStreamError, PermissionDeniedError) as error:
            self._refuse(name, error)
        except (NaqError, *CLIENT_ERRORS) as error:
            log.debug("%s cannot be created now: %r", name, error)
            return False
        self._refused.pop(name, None)
        self._made[name] = self._made.get(name, 0) + 1
        if is_ours:
            kind, state = ("stream", ", empty") if is_stream else ("consumer", "")
            log.warning("%s %s was deleted and has been created again%s", kind, name, state)
        if is_stream:
            await self._restore_all([consumer for consumer, (stream, _) in self._consumers.items() if stream == name])
        return True

    async def _is_missing(self, name: str) -> bool:
        kind, missing = (
            (f"STREAM.INFO.{name}", STREAM_NOT_FOUND)
            if name in self._streams
            else (f"CONSUMER.INFO.{self._consumers[name][0]}.{name}", CONSUMER_NOT_FOUND)
        )
        try:
            await self._ask(kind)
        except JetStreamError as error:
            if error.err_code != missing:
                raise
            return True
        return False

    def _refuse(self, name: str, reason: Exception) -> NoReturn:
        """Say once that nothing can be done about what is missing."""
        error = MissingError(name, str(reason))
        if name not in self._refused:
            log.error("%s", error)
        self._refused[name] = error
        raise error from reason

    async def _create_stream(self, name: str) -> bool:
        """Create a missing stream; return whether this call did it, and not another process."""
        config = {key: value for key, value in self._streams[name].items() if value is not None}
        try:
            answer = await self._ask(f"STREAM.CREATE.{name}", config)
        except JetStreamError as error:
            if error.err_code not in NAME_IN_USE:
                raise
            return False
        return bool(answer.get("did_create"))

    async def _ask(self, operation: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the API once: `JetStream.api` would repeat it, and come here for a stream that is missing."""
        subject = f"$JS.API.{operation}"
        connection = self._connection
        payload = b"" if body is None else msgspec.json.encode(body)
        message = await connection.request(subject, payload, timeout=PATIENCE, deadline=self._loop.time(), restores=False)
        answer: dict[str, Any] = msgspec.json.decode(message.data)
        if "error" in answer:
            raise api_error(operation, answer["error"])
        return answer

    async def check(self) -> None:
        """Look at everything that is kept, and create again what is missing; what fails is logged."""
        consumers = tuple(self._consumers)
        start = self._checked % len(consumers) if consumers else 0
        self._checked = start + MOST_CHECKED
        await self._restore_all((*self._streams, *islice(consumers, start, start + MOST_CHECKED)))

    async def _restore_all(self, names: Iterable[str]) -> None:
        remaining = iter(names)
        while chunk := tuple(islice(remaining, AT_ONCE)):
            outcomes = await asyncio.gather(*map(self.restore, chunk), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException) and not isinstance(outcome, BrokerError):
                    raise outcome
