"""How each of the dashboard's settings is checked, and read from its variable."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeAlias

from naq_core.errors import ConfigurationError, shown
from naq_core.setting_sources import Variables
from naq_core.values import flag, number, text, whole
from naq_dashboard.access.roles import Access, Action, parse_access
from naq_dashboard.job_link import JobLink
from naq_dashboard.languages import PREFIX
from naq_dashboard.masking import plain_word
from naq_dashboard.other_server import OtherServer

__all__ = ["CHECKS", "PREFIX", "READERS", "VARIABLES", "Network", "User", "read_setting"]

Network: TypeAlias = IPv4Network | IPv6Network

LEAST_SESSION_HOURS, MOST_SESSION_HOURS = 0.001, 24 * 365


@dataclass(frozen=True, kw_only=True)
class User:
    """A user who can log in."""

    name: str
    access: Access
    password: str = field(repr=False)
    """In plain text, or as `naq dashboard --hash-password` prints it."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigurationError: One has the wrong type, or is empty.
        """
        object.__setattr__(self, "name", _secret(self.name, "name"))
        object.__setattr__(self, "access", _access(self.access, "access"))
        object.__setattr__(self, "password", _secret(self.password, "password"))


def _secret(value: object, name: str) -> str:
    found = text(value, name)
    if not found:
        raise ConfigurationError(name, "must not be empty")
    return found


def _optional(value: object, name: str) -> str | None:
    return None if value is None else _secret(value, name)


def _access(value: object, name: str) -> Access:
    if not isinstance(value, frozenset | set) or not all(isinstance(each, Action) for each in value):
        raise ConfigurationError(name, f"must be a role such as VIEWER, or a set of actions, not {shown(value)}")
    return frozenset(value)


def _items(value: object, name: str) -> list[object]:
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
        raise ConfigurationError(name, f"must be a list, not a {type(value).__name__}")
    return list(value)


def _texts(value: object, name: str) -> tuple[str, ...]:
    return tuple(_secret(each, name) for each in _items(value, name))


def _masks(value: object, name: str) -> tuple[str, ...]:
    for word in (words := _texts(value, name)):
        if not plain_word(word):
            raise ConfigurationError(name, f"{word!r} has no ASCII letter or digit and would hide every value")
    return words


def _members(value: object, name: str) -> tuple[User, ...]:
    items = _items(value, name)
    users = [each for each in items if isinstance(each, User)]
    if len(users) < len(items):
        raise ConfigurationError(name, "must be a list of User")
    return tuple(users)


def _proxies(value: object, name: str) -> tuple[Network, ...]:
    found: list[Network] = []
    for each in _items(value, name):
        if isinstance(each, IPv4Network | IPv6Network):
            found.append(each)
            continue
        try:
            found.append(ip_network(text(each, name), strict=False))
        except ValueError as error:
            raise ConfigurationError(name, str(error)) from error
    return tuple(found)


def _accesses(value: object, name: str) -> Mapping[str, Access]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(name, f"must be a mapping of names to roles, not a {type(value).__name__}")
    return {_secret(each, name): _access(access, name) for each, access in value.items()}


def _links(value: object, name: str) -> tuple[JobLink, ...]:
    items = _items(value, name)
    links = [each for each in items if isinstance(each, JobLink)]
    if len(links) < len(items):
        raise ConfigurationError(name, "must be a list of JobLink")
    return tuple(links)


def _servers(value: object, name: str) -> tuple[OtherServer, ...]:
    items = _items(value, name)
    servers = [each for each in items if isinstance(each, OtherServer)]
    if len(servers) < len(items):
        raise ConfigurationError(name, "must be a list of OtherServer")
    names = [each.name for each in servers]
    if twice := [each for each in names if names.count(each) > 1]:
        raise ConfigurationError(name, f"name {twice[0]!r} twice")
    return tuple(servers)


CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "host": _secret,
    "port": lambda value, name: whole(value, name, 0, 65_535),
    "root_path": text,
    "title": text,
    "environment": text,
    "read_only": flag,
    "insecure_no_auth": flag,
    "password": _optional,
    "users": _members,
    "token": _optional,
    "read_token": _optional,
    "user_header": text,
    "trusted_proxies": _proxies,
    "proxy_roles": _accesses,
    "oidc_issuer": text,
    "oidc_client_id": text,
    "oidc_client_secret": _optional,
    "oidc_roles": _accesses,
    "oidc_claim": _secret,
    "oidc_groups_claim": _secret,
    "oidc_scope": _secret,
    "streams_per_user": lambda value, name: whole(value, name, 1, 1_000_000),
    "allowed_hosts": _texts,
    "secret": text,
    "session_hours": lambda value, name: number(value, name, LEAST_SESSION_HOURS, MOST_SESSION_HOURS),
    "masked_keys": _masks,
    "job_links": _links,
    "servers": _servers,
    "language": _secret,
    "translations": text,
}


def _flag(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
        case _:
            raise ValueError(f"must be true or false, not {text!r}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word)


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(word, strict=False) for word in _words(text))


def _users(text: str) -> tuple[User, ...]:
    users = []
    for word in text.split():
        name, _, rest = word.partition(":")
        role, _, password = rest.partition(":")
        if not (name and role and password):
            raise ValueError("takes name:role:password, separated by white space")
        users.append(User(name=name, access=parse_access(role), password=password))
    return tuple(users)


def _roles(text: str) -> dict[str, Access]:
    roles = {}
    for word in _words(text):
        name, equals, role = word.partition("=")
        if not (name and equals):
            raise ValueError(f"takes name=role, not {word!r}")
        roles[name] = parse_access(role)
    return roles


def _read_links(text: str) -> tuple[JobLink, ...]:
    links = []
    for word in text.split():
        name, equals, template = word.partition("=")
        if not (name and equals):
            raise ValueError(f"takes name=address, separated by white space, not {word!r}")
        links.append(JobLink(name, template))
    return tuple(links)


def _read_servers(text: str) -> tuple[OtherServer, ...]:
    return tuple(map(OtherServer.read, text.split()))


READERS: dict[str, Any] = {
    "host": str,
    "port": int,
    "root_path": str,
    "title": str,
    "environment": str,
    "read_only": _flag,
    "insecure_no_auth": _flag,
    "password": str,
    "users": _users,
    "token": str,
    "read_token": str,
    "user_header": str,
    "trusted_proxies": _networks,
    "proxy_roles": _roles,
    "oidc_issuer": str,
    "oidc_client_id": str,
    "oidc_client_secret": str,
    "oidc_roles": _roles,
    "oidc_claim": str,
    "oidc_groups_claim": str,
    "oidc_scope": str,
    "streams_per_user": int,
    "allowed_hosts": _words,
    "secret": str,
    "session_hours": float,
    "masked_keys": _words,
    "job_links": _read_links,
    "servers": _read_servers,
    "language": str,
    "translations": str,
}
VARIABLES = Variables(prefix=PREFIX, texts=READERS.keys(), secrets=READERS.keys())


def read_setting(name: str, text: str, source: str) -> Any:
    """Return the value that a variable says.

    Raises:
        ConfigurationError: It is not one.
    """
    try:
        return READERS[name](text)
    except ValueError as error:
        problem = error.problem if isinstance(error, ConfigurationError) else str(error)
        raise ConfigurationError(name, problem, source) from error
