"""The dashboard's settings: where it listens, who can log in, and what they may do."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

from naq_core.errors import ConfigurationError
from naq_core.setting_sources import resolve
from naq_dashboard.access.passwords import check_hash
from naq_dashboard.access.roles import ADMIN, VIEWER, Access
from naq_dashboard.job_link import JobLink
from naq_dashboard.languages import Languages
from naq_dashboard.other_server import OtherServer
from naq_dashboard.setting_kinds import CHECKS, PREFIX, READERS, VARIABLES, Network, User, read_setting

__all__ = ["DEFAULT_PORT", "PREFIX", "DashboardSettings", "Network", "User"]

DEFAULT_PORT = 8080
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


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
    oidc_issuer: str = ""
    """The address of an OpenID Connect provider at which people log in, exactly as it names itself. Needs the extra `oidc`."""
    oidc_client_id: str = ""
    """What the provider calls this dashboard."""
    oidc_client_secret: str | None = field(default=None, repr=False)
    """The secret it has given. Also `NAQ_DASHBOARD_OIDC_CLIENT_SECRET_FILE`. Default none: a public client, with PKCE only."""
    oidc_roles: Mapping[str, Access] = field(default_factory=dict)
    """Who may come in, with which role: `ada@example.org=admin,group:ops=operator,*=viewer`. The first that fits counts: the
    name, a group, `*`. Needed with `oidc_issuer`."""
    oidc_claim: str = "email"
    """Which claim of the provider is the user's name. Default `email`, which it must not call unverified."""
    oidc_groups_claim: str = "groups"
    """Which claim lists the user's groups. Default `groups`."""
    oidc_scope: str = "openid profile email"
    """What the provider is asked for. Default `openid profile email`."""
    streams_per_user: int = 100
    """How many streams of updates a user may hold open at once. A browser needs one for all of its pages. Default 100."""
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
    job_links: tuple[JobLink, ...] = ()
    """Links on the page of each job, such as `Trace=https://traces.example.org/{trace_id}`, separated by white space. Also
    `{span_id}`, `{job_id}`, `{queue}`, `{function}`, `{workflow}` and `{worker}`."""
    servers: tuple[OtherServer, ...] = ()
    """Further servers or namespaces that the dashboard shows, each below `/s/NAME`: `NAME=ADDRESS?namespace=shop&creds=PATH`,
    separated by white space. Also `NAQ_DASHBOARD_SERVERS_FILE`."""
    language: str = "en"
    """The language of the pages: the name of a catalogue, such as `de`, or `browser` for the first that each browser wants.
    Default `en`, English."""
    translations: str = ""
    """A folder with more catalogues, such as `de/LC_MESSAGES/naq_dashboard.mo`. Default none."""

    def __post_init__(self) -> None:
        """Convert and check every field."""
        for name, check in CHECKS.items():
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
        Languages(self.language, self.translations)
        self._check_oidc()
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

    def _check_oidc(self) -> None:
        if not self.oidc_issuer:
            return
        if urlsplit(self.oidc_issuer).scheme not in {"http", "https"}:
            raise ConfigurationError("oidc_issuer", f"must be an address, not {self.oidc_issuer!r}", f"{PREFIX}OIDC_ISSUER")
        for name, what in (("oidc_client_id", "the name of this client"), ("oidc_roles", "who may come in, such as *=viewer")):
            if not getattr(self, name):
                raise ConfigurationError(name, f"is missing: {what}", f"{PREFIX}{name.upper()}")

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read from the environment what is not given.

        Args:
            overrides: Field values; None means unset.

        Raises:
            ConfigurationError: A value is not allowed.
        """
        found = resolve(READERS.keys(), VARIABLES, overrides, "a setting of the dashboard")
        values: dict[str, Any] = {}
        for name, (value, source) in found.items():
            if source == "argument":
                values[name] = value
            elif text := value.strip():
                values[name] = read_setting(name, text, source)
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
        return bool(self.accounts or self.token or self.read_token or self.user_header or self.oidc_issuer)

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

    def access_of_oidc_user(self, name: str, groups: Iterable[str]) -> Access | None:
        """Return what a user of the identity provider may do, None of one who may not come in."""
        for key in (name, *(f"group:{each}" for each in groups), "*"):
            if key in self.oidc_roles:
                return self.oidc_roles[key]
        return None
