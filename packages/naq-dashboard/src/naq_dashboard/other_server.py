"""A further server, or namespace, that the dashboard shows beside its own, as a setting."""

import dataclasses
import re
import types
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl

from naq_core.settings import Settings

__all__ = ["OtherServer"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_PARAMETERS = {
    "creds": "nats_creds",
    "nkey": "nats_nkey",
    "tls_ca": "nats_tls_ca",
    "tls_cert": "nats_tls_cert",
    "tls_key": "nats_tls_key",
    "inbox_prefix": "nats_inbox_prefix",
    "domain": "jetstream_domain",
    "namespace": "namespace",
}
"""What can stand after the address, and the setting that it is."""
_OF_A_SERVER = (
    "nats_url",
    "nats_context",
    "nats_user",
    "nats_password",
    "nats_token",
    *(name for name in _PARAMETERS.values() if name != "namespace"),
)
"""Settings that are never taken from another server's: its credentials would be sent to a stranger."""


@dataclass(frozen=True, kw_only=True)
class OtherServer:
    """A name, and where its jobs are.

    Raises:
        ValueError: The name cannot be part of an address, or there is nothing that tells it from the dashboard's own.
    """

    name: str
    """Shown to people, and a part of its pages' addresses: letters, digits, `-` and `_`."""
    url: str = ""
    """Its address, which may hold user and password. Default: the dashboard's own server, with its credentials."""
    namespace: str = ""
    """Default: the dashboard's own."""
    read_only: bool = False
    """Refuse every action there. Default off."""
    parameters: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    """Other settings of the connection, by name."""

    def __post_init__(self) -> None:
        """Check the name."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot be the name of a server: use letters, digits, '-' and '_', 40 at most")
        if not (self.url or self.namespace):
            raise ValueError(f"{self.name} needs an address, a namespace, or both, such as ?namespace=shop")
        if self.parameters and not self.url:
            problem = "is another namespace of the dashboard's own server: only namespace and read_only can be given"
            raise ValueError(f"{self.name} has no address, so it {problem}")

    @classmethod
    def read(cls, word: str) -> Self:
        """Read `NAME=ADDRESS?namespace=shop&creds=PATH&read_only=1`.

        Raises:
            ValueError: It is not written so.
        """
        name, equals, rest = word.partition("=")
        if not equals:
            raise ValueError(f"takes name=address, separated by white space, not {_hidden(word)!r}")
        url, _, query = rest.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        is_read_only = given.pop("read_only", "") not in ("", "0")
        for each in given.keys() - _PARAMETERS.keys():
            raise ValueError(f"{name}: {each!r} is not known; use {', '.join(sorted([*_PARAMETERS, 'read_only']))}")
        namespace = given.pop("namespace", "")
        parameters = tuple((_PARAMETERS[each], value) for each, value in given.items())
        return cls(name=name, url=url, namespace=namespace, read_only=is_read_only, parameters=parameters)

    def settings(self, own: Settings) -> Settings:
        """Return the settings with which it is reached.

        Args:
            own: Those of the dashboard's own server. A server with an address of its own gets none of its credentials.

        Raises:
            ConfigurationError: A value is not allowed.
        """
        changed: dict[str, Any] = {"namespace": self.namespace} if self.namespace else {}
        if self.url:
            defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
            changed |= {name: defaults[name] for name in _OF_A_SERVER} | {"nats_url": self.url} | dict(self.parameters)
        sources = {name: source for name, source in own.sources.items() if name not in changed}
        return dataclasses.replace(own, **changed, sources=types.MappingProxyType(sources))


def _hidden(word: str) -> str:
    """Return a word without what may be a password."""
    return word.rpartition("@")[2]
