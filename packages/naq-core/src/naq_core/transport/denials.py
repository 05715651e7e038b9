"""Permission errors: the server reports them outside the replies, so the callers that wait for a reply have to be notified."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

from naq_core.errors import PermissionDeniedError
from naq_core.transport.domain import outside_domain

_VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"([^\"]*)\"", re.IGNORECASE)
SUBSCRIBE = "subscribe to"
PUBLISH = "publish to"


class Denials:
    """The denials of one connection, kept until it reconnects, since permissions do not change before.

    nats-py hands the server's message on in lower case, so subjects are compared so.
    """

    def __init__(self, domain: str | None = None) -> None:
        """Prepare.

        Args:
            domain: That of JetStream, whose prefix the server's messages have and ours have not.
        """
        self._domain = domain
        self._found: dict[tuple[str, str], PermissionDeniedError] = {}
        self._waiting: dict[str, set[asyncio.Timeout]] = {}

    def note(self, error: BaseException) -> PermissionDeniedError | None:
        """Remember a denial and interrupt who waits for it; None where the error is something else."""
        match = _VIOLATION.search(str(error))
        if match is None:
            return None
        verb = PUBLISH if match[1].lower() == "publish" else SUBSCRIBE
        subject = outside_domain(match[2], self._domain)
        denied = self._found[verb, subject.lower()] = PermissionDeniedError(verb, subject)
        if verb == PUBLISH:
            now = asyncio.get_running_loop().time()
            for scope in self._waiting.get(subject.lower(), ()):
                scope.reschedule(now)
        return denied

    def check(self, subject: str, verb: str = PUBLISH) -> None:
        """Raise what the server said of a subject.

        Raises:
            PermissionDeniedError: This user may not publish (or subscribe) to it.
        """
        if self.is_refused(subject, verb):
            raise PermissionDeniedError(verb, subject)

    def is_refused(self, subject: str, verb: str = PUBLISH) -> bool:
        """Whether the server has refused to let this user publish (or subscribe) to a subject."""
        return bool(self._found) and (verb, subject.lower()) in self._found

    def check_request(self, subject: str, inbox: str) -> None:
        """Raise what the server said of a request, or of receiving answers below the inbox prefix.

        Raises:
            PermissionDeniedError: This user may not ask that, or will never see an answer.
        """
        if self._found:
            self.check(subject)
            self.check_below(inbox)

    def check_below(self, prefix: str) -> None:
        """Raise what the server said of a subscription below a prefix: what is waited for there will never come.

        Raises:
            PermissionDeniedError: This user may not subscribe to it.
        """
        if (denied := self._below(prefix)) is not None:
            raise denied

    def is_refused_below(self, prefix: str) -> bool:
        """Whether the server has refused a subscription below a prefix."""
        return self._below(prefix) is not None

    def _below(self, prefix: str) -> PermissionDeniedError | None:
        if not self._found:
            return None
        start = f"{prefix.lower()}."
        return next(
            (denied for (verb, subject), denied in self._found.items() if verb == SUBSCRIBE and subject.startswith(start)), None
        )

    @contextmanager
    def interrupting(self, subject: str, scope: asyncio.Timeout) -> Iterator[None]:
        """Let a denial of publishing to a subject end a time-out's scope at once."""
        waiting = self._waiting.setdefault(subject.lower(), set())
        waiting.add(scope)
        try:
            yield
        finally:
            waiting.discard(scope)
            if not waiting:
                self._waiting.pop(subject.lower(), None)

    def forget(self) -> None:
        """The connection was reopened, perhaps with other permissions."""
        self._found.clear()
