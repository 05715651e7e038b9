"""JetStream of another domain, such as that of a hub behind a leaf node.

The server takes the API, and what is stored below `$KV` and `$OBJ`, at `$JS.<domain>.API.…`; other subjects, acknowledgements and
deliveries have no prefix. So one place translates what is sent, and everything above it knows one set of subjects.
"""

from naq_core.transport.client import QuickClient

_API = "$JS.API."
_STORED = ("$KV.", "$OBJ.")


def in_domain(subject: str, domain: str | None) -> str:
    """Return the subject at which JetStream of a domain takes what it takes at `subject` itself; None is the server's own."""
    if domain is None:
        return subject
    if subject.startswith(_API):
        return f"$JS.{domain}.API.{subject.removeprefix(_API)}"
    return f"$JS.{domain}.API.{subject}" if subject.startswith(_STORED) else subject


def outside_domain(subject: str, domain: str | None) -> str:
    """Return what `in_domain` was given; of a subject of messages in lower case, too."""
    prefix = f"$JS.{domain}.API."
    if domain is None or not subject.lower().startswith(prefix.lower()):
        return subject
    rest = subject[len(prefix) :]
    return rest if rest.upper().startswith(_STORED) else f"{_API}{rest}"


class DomainClient(QuickClient):
    """A client whose JetStream is that of a domain."""

    def __init__(self, domain: str, *, is_hidden: bool = False) -> None:
        """Prepare a client.

        Args:
            domain: The name in the server's configuration: `jetstream { domain: hub }`.
            is_hidden: As of `QuickClient`.
        """
        super().__init__(is_hidden=is_hidden)
        self._domain = domain

    @property
    def is_clustered(self) -> bool:
        """Whether the domain's servers may be a cluster; the one it is connected to does not know, so always."""
        return True

    def post(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Publish as `QuickClient.post` does, to where the domain takes it."""
        super().post(in_domain(subject, self._domain), payload, reply, headers)
