"""Why there is no connection: what was heard since it was there last, each cause logged once."""

import asyncio
import logging

import nats.errors

from naq_core.errors import ConfigurationError
from naq_core.settings import Settings, redact_url
from naq_core.transport.auth import cannot_connect, is_refusal, reason_of, without_secrets
from naq_core.transport.lasting import ServerSaidError
from naq_core.transport.secure import PlainTextServerError

log = logging.getLogger("naq_core.connection")


class Outage:
    """The errors of a connection that is being made, or was lost.

    Args:
        settings: Those of the connection; it replaces them when secrets are read again.
        patient: Go on after every server was tried once.
        seconds: How long the first connection is tried for, for the log.
    """

    def __init__(self, settings: Settings, *, patient: bool, seconds: float) -> None:
        self.settings = settings
        self.given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when further attempts at the first connection are of no use."""
        self.last_error: BaseException | None = None
        self._words: Exception | None = None
        """What the server said before it closed the connection, or why it cannot be made."""
        self._plain: PlainTextServerError | None = None
        """TLS is asked for, and a server did not offer it."""
        self._patient = patient
        self._seconds = seconds
        self._failures = 0
        self._has_said_that_it_waits = False

    @property
    def _url(self) -> str:
        return redact_url(self.settings.nats_url)

    def over(self) -> None:
        """Forget what was heard: the connection is there."""
        self.last_error = self._words = self._plain = None

    def note(self, error: Exception, servers: int, *, is_first: bool, is_in_use: bool) -> None:
        """Take note of an error.

        Args:
            error: What nats-py reports.
            servers: How many servers are tried in turn.
            is_first: The first connection is being made.
            is_in_use: It was made and is not being closed: only then its loss is news.
        """
        self._failures += 1
        if isinstance(error, PlainTextServerError):
            if self._plain is None and is_in_use:  # no outage: it does not pass by itself
                log.error("%s", cannot_connect(self.settings, error))
            self._plain = error
        elif isinstance(error, ServerSaidError | ConfigurationError):
            if self._words is None and is_in_use:  # somebody may have to act
                log.error("NATS at %s closed the connection: %s. Reconnecting", self._url, self.reason(error))
            self._words = error
        impatient = (not self._patient or self._plain is not None) and self._failures >= servers
        if (impatient or is_refusal(error)) and not self.given_up.done():
            self.given_up.set_result(None)
        if is_first and not self.given_up.done():
            self.say_that_it_waits(f"cannot reach NATS at {self._url} yet ({self.reason(error)})")
        if is_first or is_in_use:
            is_expected = isinstance(error, OSError | nats.errors.Error | ConfigurationError)
            log.log(logging.DEBUG if is_expected else logging.ERROR, "NATS: %s", self.reason(error))

    def say_that_it_waits(self, what: str) -> None:
        """Say it once, while the first connection is being made by a caller that waits for it."""
        if self._patient and not self._has_said_that_it_waits:
            self._has_said_that_it_waits = True
            log.warning("%s: trying for %g s", what, self._seconds)

    def cause(self, otherwise: BaseException) -> BaseException:
        """Return what explains best why there is no connection: after the server's words there follows just an end of file."""
        return self._plain or self._words or self.last_error or otherwise

    @property
    def words(self) -> str:
        """What the server said last; empty if it said nothing."""
        return "" if self._words is None else self.reason(self._words)

    @property
    def last_words(self) -> str:
        """The last known reason, for a connection that is lost for good."""
        return self.words or self.reason(self.last_error)

    def reason(self, error: BaseException | None) -> str:
        """Return the text of an error without the secrets of the settings."""
        return without_secrets(self.settings, reason_of(error))
