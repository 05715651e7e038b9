"""The dashboard's settings: where it listens, who can log in, and what they may do."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Self, TypeAlias

from naq_core.errors import ConfigurationError, shown
from naq_core.setting_sources import Variables, resolve
from naq_core.values import flag, number, text, whole
from naq_dashboard.access.passwords import check_hash
from naq_dashboard.access.roles import ADMIN, VIEWER, Access, Action, parse_access
from naq_dashboard.masking import plain_word

Network: TypeAlias = IPv4Network | IPv6Network

DEFAULT_PORT = 8080
PREFIX = "NAQ_DASHBOARD_"
LEAST_SESSION_HOURS, MOST_SESSION_HOURS = 0.001, 24 * 365
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


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


@dataclass(frozen=True, kw_only=True)
class DashboardSettings:
    """The dashboard's settings, besides `naq_core.Settings`.

    `DashboardSettings.load()` reads `NAQ_DASHBOARD_<FIELD>` for what is not given as an argument.

    Raises:
        ConfigurationError: A value is not allowed.
    """

    host: str = "127.0.0.1"
    """The address to listen on. Any but a loopback address needs a way to log in, or `insecure_no_auth`."""
    port: int = DEFAULT_PORT
    """The port. Default 8080."""
    root_path: str = ""
    """The path under which a proxy or an outer application shows the dashboard, such as `/naq`. Default none."""
    title: str = "NAQ"
    """Shown at the top and in the browser's tab."""
    environment: str = ""
    """A word for a badge beside the title, such as `production`."""
    read_only: bool = False
    """Refuse every action, for every user. Default: off."""
    insecure_no_auth: bool = False
    """Listen on any address without a way to log in. Default off."""
    password: str | None = field(default=None, repr=False)
    """The password of the user `admin`. Also `NAQ_DASHBOARD_PASSWORD_FILE`."""
    users: tuple[User, ...] = ()
    """More users: `name:role:password`, separated by white space. Also `NAQ_DASHBOARD_USERS_FILE`."""
    token: str | None = field(default=None, repr=False)
    """A bearer token with full access, for programs. Also `NAQ_DASHBOARD_TOKEN_FILE`."""
    read_token: str | None = field(default=None, repr=False)
    """A bearer token that may only read, for monitoring. Also `NAQ_DASHBOARD_READ_TOKEN_FILE`."""
    user_header: str = ""
    """The header in which a trusted proxy names the user, such as `X-Forwarded-User`."""
    trusted_proxies: tuple[Network, ...] = ()
    """The networks from which that header is believed. Needed with `user_header`."""
    proxy_roles: Mapping[str, Access] = field(default_factory=dict)
    """The role of each user that the proxy names: `alice=admin,*=viewer`. Default `*=viewer`."""
    allowed_hosts: tuple[str, ...] = ()
    """Values of the Host header that are answered, without port; `*.example.org` covers names below, `*` all.

    Default: the loopback names and `host` while there is no way to log in (nor `identify`), else all.
    """
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """Signs sessions and forms. Several processes that serve the same users need the same. Default: a random one."""
    session_hours: float = 12.0
    """How long a login lasts, in hours. Default 12."""
    masked_keys: tuple[str, ...] = ()
    """Words whose values are hidden in arguments and results, besides `password`, `token`, `secret` and such."""

    def __post_init__(self) -> None:
        """Convert and check every field."""
        for name, check in _CHECKS.items():
            try:
                exact = check(getattr(self, name), name)
            except ConfigurationError as error:
                raise ConfigurationError(name, error.problem, f"{PREFIX}{name.upper()}") from None
            object.__setattr__(self, name, exact)
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise ConfigurationError(
                "root_path", f"must start and not end with '/', not {self.root_path!r}", f"{PREFIX}ROOT_PATH"
            )
        if self.user_header and not self.trusted_proxies:
            raise ConfigurationError(
                "user_header", f"is accepted from trusted proxies only: set {PREFIX}TRUSTED_PROXIES too", f"{PREFIX}USER_HEADER"
            )
        if len(self.secret) < 16:
            raise ConfigurationError("secret", "must have at least 16 characters", f"{PREFIX}SECRET")
        names = [each.name for each in self.accounts]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(
                    "users", f"name {name!r} twice (the user of {PREFIX}PASSWORD is admin)", f"{PREFIX}USERS"
                )
        for each in self.accounts:
            check_hash(each.name, each.password)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read from the environment what is not given.

        Args:
            overrides: Field values; None means unset.

        Raises:
            ConfigurationError: A value is not allowed.
        """
        found = resolve(_READERS.keys(), _VARIABLES, overrides, "a setting of the dashboard")
        values: dict[str, Any] = {}
        for name, (value, source) in found.items():
            if source == "argument":
                values[name] = value
            elif text := value.strip():
                values[name] = _read(name, text, source)
        return cls(**values)

    @property
    def accounts(self) -> tuple[User, ...]:
        """Everybody who has a password."""
        if self.password is None:
            return self.users
        return (User(name="admin", access=ADMIN, password=self.password), *self.users)

    @property
    def needs_login(self) -> bool:
        """Whether there is any way to log in, so that nobody comes in without."""
        return bool(self.accounts or self.token or self.read_token or self.user_header)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_open_to_all(self) -> bool:
        """Whether other machines are answered: nobody comes in without a login, or that is what was asked for."""
        return self.needs_login or self.insecure_no_auth or bool(self.allowed_hosts)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The Host headers that are answered."""
        if self.allowed_hosts:
            return tuple(host.lower() for host in self.allowed_hosts)
        if self.needs_login or (self.insecure_no_auth and not self.is_loopback):
            return ("*",)
        return (*LOOPBACK_NAMES, self.host)

    def check_exposure(self) -> None:
        """Refuse to listen where strangers can connect without a login.

        Raises:
            ConfigurationError: That is what was asked for.
        """
        if not (self.is_loopback or self.needs_login or self.insecure_no_auth):
            raise ConfigurationError(
                "host",
                f"{self.host!r} is reachable from other machines without a login: set {PREFIX}PASSWORD, "
                f"{PREFIX}USERS or {PREFIX}TOKEN, or {PREFIX}USER_HEADER behind a proxy, or give --insecure-no-auth",
            )

    def access_of_proxy_user(self, name: str) -> Access:
        """Return what a user that the proxy names may do."""
        return self.proxy_roles.get(name) or self.proxy_roles.get("*") or VIEWER


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


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
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
    "allowed_hosts": _texts,
    "secret": text,
    "session_hours": lambda value, name: number(value, name, LEAST_SESSION_HOURS, MOST_SESSION_HOURS),
    "masked_keys": _masks,
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


_READERS: dict[str, Any] = {
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
    "allowed_hosts": _words,
    "secret": str,
    "session_hours": float,
    "masked_keys": _words,
}
_VARIABLES = Variables(prefix=PREFIX, texts=_READERS.keys(), secrets=_READERS.keys())


def _read(name: str, text: str, source: str) -> Any:
    try:
        return _READERS[name](text)
    except ValueError as error:
        problem = error.problem if isinstance(error, ConfigurationError) else str(error)
        raise ConfigurationError(name, problem, source) from error
