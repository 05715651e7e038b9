"""Frozen settings, resolved from argument, environment, file and default."""

import dataclasses
import inspect
import logging
import os
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_type_hints

from naq_core._nats_context import read_context
from naq_core._settings_file import read_settings_file, read_settings_in
from naq_core._settings_types import OtherSettings, ServiceSettings
from naq_core._settings_values import check, hooks, middleware, names, parse_duration, redact_url, whole_number
from naq_core._suggest import meant
from naq_core.errors import ConfigurationError, InvalidOptionError
from naq_core.secret_files import read_secret
from naq_core.setting_sources import Found, Variables, is_service_link, resolve
from naq_core.values import exact_text

__all__ = ["OtherSettings", "ServiceSettings", "Settings", "parse_duration", "redact_url"]

log = logging.getLogger(__name__)


_SECRETS = ("nats_password", "nats_token", "signing_key", "webhook_secret")
_FALLBACK_ENV = {
    "nats_url": "NATS_URL",
    "nats_user": "NATS_USER",
    "nats_password": "NATS_PASSWORD",
    "nats_token": "NATS_TOKEN",
    "nats_context": "NATS_CONTEXT",
    "nats_creds": "NATS_CREDS",
    "nats_nkey": "NATS_NKEY",
    "nats_tls_ca": "NATS_CA",
    "nats_tls_cert": "NATS_CERT",
    "nats_tls_key": "NATS_KEY",
    "result_ttl": "NAQ_DEFAULT_RESULT_TTL",
    "ack_wait": "NAQ_DEFAULT_ACK_WAIT",
    "heartbeat_interval": "NAQ_WORKER_HEARTBEAT_INTERVAL",
    "scheduler_ttl": "NAQ_SCHEDULER_LOCK_TTL",
}
_VARIABLES = Variables(prefix="NAQ_", fallbacks=_FALLBACK_ENV, texts=(*_SECRETS, "nats_url", "nats_user"), secrets=_SECRETS)
_REFERENCES = {"middleware": middleware, "hooks": hooks}
"""Settings that are lists of `module:name`, and what reads them."""
_FOREIGN_PREFIXES = ("NAQ_TEST", "NAQ_BENCH", "NAQ_DASHBOARD_")


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """All settings of NAQ, checked once at the edge.

    `Settings.load()` resolves each field on its own: argument, then `NAQ_<FIELD>`, then the
    `NATS_*` fall-back, then `naq.toml` or `[tool.naq]` in `pyproject.toml`, then the default.
    `Settings(...)` takes only its arguments and reads nothing from outside.

    Raises:
        ConfigurationError: A value is not allowed.
    """

    nats_url: str = "nats://localhost:4222"
    """Server address, or a comma list of them. Fall-back: `NATS_URL`."""
    namespace: str = "naq"
    """Prefix of every stream, bucket and subject: one namespace is one trust domain."""
    default_queue: str = "default"
    """Queue of a job for which none was named."""
    job_serializer: Literal["pickle", "json"] = "pickle"
    """How functions, arguments and results are encoded. With `json` nothing is unpickled."""
    allowed_functions: tuple[str, ...] = ()
    """What a worker may run: `module:qualname`, `module:*`, `module.*`. Empty: see the serializer."""
    middleware: tuple[Any, ...] = ()
    """What is run around each enqueue and each attempt, from the outside to the inside: `module:name` of a class or an instance;
    as an argument also the class or instance itself (`docs/middleware.md`)."""
    hooks: tuple[Any, ...] = ()
    """What workers, their child processes and schedulers call when they start, in this order, and let go on when they end:
    `module:function`; as an argument also the function itself (`docs/workers.md`)."""
    signing_key: tuple[str, ...] = ()
    """Keys that jobs and results are signed with: the first signs, all verify. Fall-back: `NAQ_SIGNING_KEY_FILE`."""
    webhook_secret: tuple[str, ...] = ()
    """Secrets that `naq_core.webhook` signs with, each as `whsec_` and base64. Fall-back: `NAQ_WEBHOOK_SECRET_FILE`."""
    large_threshold: int = 256 * 1024
    """Arguments or results of more bytes go to the object store; 0 means never. Default 256 KiB."""
    large_ttl: timedelta = timedelta(days=30)
    """How long large arguments wait for their job to start. Default 30 days."""
    result_ttl: timedelta = timedelta(days=7)
    """How long the record of a succeeded job is kept. Default 7 days."""
    failure_ttl: timedelta = timedelta(days=30)
    """How long the record of a job that did not succeed is kept. Default 30 days."""
    dead_ttl: timedelta = timedelta(days=30)
    """How long a dead job can be requeued. Default 30 days."""
    audit_ttl: timedelta = timedelta(days=90)
    """How long it is kept who did what with the dashboard and the command line. Default 90 days, at least an hour."""
    job_events: Literal["keep", "on", "off"] = "keep"
    """Whether the server also tells of enqueued, held and dead jobs as events; costs some 12 % of the enqueue rate.
    `keep`, the default, leaves it as it is, which is off for a new namespace."""
    job_logs: Literal["on", "off"] = "on"
    """Whether workers keep what jobs log in their records, where those who may read records can read it. Default on."""
    replicas: int = 1
    """Copies of every stream and bucket in a cluster, 1 to 5. Default 1."""
    ack_wait: timedelta = timedelta(seconds=15)
    """After this silence of a worker its job is delivered again. Default 15 s, at least 1 s."""
    claim_after: timedelta = timedelta(seconds=0.02)
    """How long a new job may run before it is claimed. Default 20 ms, at most a third of `ack_wait`. 0: each job is claimed
    before it starts; clients and workers read it (`docs/adr/0046-late-claims.md`)."""
    heartbeat_interval: timedelta = timedelta(seconds=5)
    """How often a worker renews its presence. Default 5 s."""
    worker_ttl: timedelta = timedelta(seconds=15)
    """After this silence a worker counts as gone. Default 15 s, above the heartbeat interval."""
    scheduler_ttl: timedelta = timedelta(seconds=15)
    """After this silence of the leading scheduler another one leads. Default 15 s, at least 2 s."""
    concurrency: int = 10
    """Jobs that one worker runs at a time. Default 10."""
    workers: int = 1
    """Worker processes that `naq worker` runs. Default 1."""
    worker_queues: tuple[str, ...] = ()
    """What `naq worker` takes jobs from if no queue is named there: names or patterns (`cust-*`), the most important first, or
    with weights (`mail=3`). Empty, the default, means the default queue."""
    processes: int = 0
    """Processes for jobs that ask for one; 0 (the default) means one per CPU."""
    shutdown_grace: timedelta = timedelta(seconds=30)
    """How long running jobs may take to finish after a stop signal. Default 30 s."""
    max_crashes: int = 3
    """A job that took down this many workers or child processes is dead. Default 3. A worker's death counts only against a job
    that ran alone in it, and then the first one beside others counts too; so 1 means two workers."""
    publish_timeout: timedelta = timedelta(seconds=5)
    """How long one publish waits for its acknowledgement. Default 5 s."""
    publish_budget: timedelta = timedelta(seconds=30)
    """How long an operation is repeated while the server is away. Default 30 s."""
    max_in_flight: int = 4096
    """Publishes that may wait for an acknowledgement at the same time. Default 4096."""
    nats_context: str | None = None
    """A context of the `nats` command, for address and credentials that are not set here. Fall-back: `NATS_CONTEXT`."""
    jetstream_domain: str | None = None
    """The JetStream domain that holds everything, such as that of a hub behind a leaf node. Default: the server's own."""
    nats_inbox_prefix: str = "_INBOX"
    """Where answers come to; one of its own for each role keeps users of one account from reading each other's."""
    nats_user: str | None = None
    """User name. Fall-back: `NATS_USER`."""
    nats_password: str | None = None
    """Password. Fall-backs: `NAQ_NATS_PASSWORD_FILE`, `NATS_PASSWORD`, `NATS_PASSWORD_FILE`."""
    nats_token: str | None = None
    """Token. Fall-backs: `NAQ_NATS_TOKEN_FILE`, `NATS_TOKEN`, `NATS_TOKEN_FILE`."""
    nats_creds: str | None = None
    """Path of a credentials file. Fall-back: `NATS_CREDS`."""
    nats_nkey: str | None = None
    """Path of an NKey seed file. Fall-back: `NATS_NKEY`."""
    nats_tls_ca: str | None = None
    """Path of the certificate authority's PEM file. Fall-back: `NATS_CA`."""
    nats_tls_cert: str | None = None
    """Path of the client certificate's PEM file. Fall-back: `NATS_CERT`."""
    nats_tls_key: str | None = None
    """Path of the client key's PEM file. Fall-back: `NATS_KEY`."""
    log_level: str = "INFO"
    """Level of the log of NAQ's own commands. Default INFO."""
    log_format: Literal["console", "json", "logfmt"] = "console"
    """Form of that log: lines for people, JSON objects, or `name=value` pairs. Default console."""
    sources: Mapping[str, str] = field(default_factory=lambda: types.MappingProxyType({}), compare=False)
    """Where each field's value comes from; written by `load`, read through `source`."""

    def __post_init__(self) -> None:
        """Convert and check every field."""
        for name in _field_types():
            try:
                value = _convert(name, getattr(self, name))
                check(name, value)
            except ValueError as error:
                raise ConfigurationError(name, str(error), self.source(name)) from error
            object.__setattr__(self, name, value)
        if self.claim_after > self.ack_wait / 3:
            problem = f"must be at most a third of ack_wait ({self.ack_wait}), not {self.claim_after}"
            raise ConfigurationError("claim_after", problem, self.source("claim_after"))
        if self.worker_ttl <= self.heartbeat_interval:
            problem = f"must be longer than heartbeat_interval ({self.heartbeat_interval}), not {self.worker_ttl}"
            raise ConfigurationError("worker_ttl", problem, self.source("worker_ttl"))

    def __repr__(self) -> str:
        """Show what differs from the defaults, without secrets."""
        shown = {n: v for n in _field_types() if (v := getattr(self, n)) != _defaults()[n]}
        if "nats_url" in shown:
            shown["nats_url"] = self.redacted_url()
        shown |= {name: "***" for name in _SECRETS if name in shown}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by value; a read-only mapping itself cannot be pickled."""
        values = {name: getattr(self, name) for name in _field_types()}
        return _rebuild, (type(self), values, dict(self.sources))

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Resolve every field from argument, environment, file and default.

        Args:
            overrides: Field values; None means unset and leaves the choice to the others.

        Returns:
            The settings; `source` tells of each value where it came from.

        Raises:
            InvalidOptionError: An unknown field. ConfigurationError: A value that is not allowed.
        """
        names = _field_types().keys()
        given = resolve(names, _VARIABLES, overrides)
        _warn_about_unknown_environment(names)
        path, from_file = read_settings_file(Path.cwd())
        for name in from_file.keys() - names - {"queues", "schedules"}:  # of `naq_core.manage` and `naq_core.schedules`
            log.warning("%s: %s is not a NAQ setting%s", path, name, meant(name, names))
        found: Found = {name: (value, str(path)) for name, value in from_file.items() if name in names} | given
        if "nats_context" in found:
            _add_context(found, str(path))
        sources = {name: source for name, (_, source) in found.items()}
        return cls(**{name: value for name, (value, _) in found.items()}, sources=types.MappingProxyType(sources))

    @classmethod
    def choose(cls, ready: Self | None, service: type, **overrides: object) -> Self:
        """Return ready settings with overrides, or load those of the environment with them.

        Args:
            service: Whose arguments the overrides are, for the message about one that does not exist.

        Raises:
            InvalidOptionError: An override is neither a setting nor an argument of the service, or what is ready are no settings.
            ConfigurationError: A value is not allowed.
        """
        if ready is not None and not isinstance(ready, cls):
            raise InvalidOptionError("settings", f"takes what Settings.load(…) returns, not a {type(ready).__name__}", "argument")
        known = _field_types().keys()
        for name in sorted(overrides.keys() - known):
            arguments = inspect.signature(service).parameters.keys() - {"overrides"}
            problem = f"is neither a setting nor an argument of {service.__name__}{meant(name, known | arguments)}"
            raise InvalidOptionError(name, problem, "argument")
        if ready is None:
            return cls.load(**overrides)
        given = {name: value for name, value in overrides.items() if value is not None}
        if not given:
            return ready
        sources = types.MappingProxyType({**ready.sources, **dict.fromkeys(given, "argument")})
        return dataclasses.replace(ready, **given, sources=sources)  # type: ignore[arg-type]  # they are converted and checked

    def source(self, name: str) -> str:
        """Tell where a field's value came from.

        Args:
            name: The field.

        Returns:
            `argument`, the environment variable's name, the file's path, or `default`.
        """
        known = self.sources.get(name)
        if known is not None:
            return known
        return "default" if getattr(self, name) == _defaults()[name] else "argument"

    def renewed(self) -> Self:
        """Return these settings with the credentials for NATS as they are by now in the files that they came from.

        Those are secret files (`NAQ_NATS_PASSWORD_FILE`), a context of the `nats` command, and `naq.toml` or `pyproject.toml`.

        Raises:
            ConfigurationError: A file cannot be read any more, or is empty.
        """
        found = {name: _read_again(self, name) for name in ("nats_user", "nats_password", "nats_token")}
        changed: dict[str, Any] = {
            name: value for name, value in found.items() if value is not None and value != getattr(self, name)
        }
        return dataclasses.replace(self, **changed) if changed else self

    def as_environment(self) -> dict[str, str]:
        """Return the variables that tell another process these settings: `NAQ_<FIELD>` of what is not the default.

        Secrets are among them, in plain text. Of middleware and hooks only what was given by its name or as a class is.
        """
        changed = {name: value for name in _field_types() if (value := getattr(self, name)) != _defaults()[name]}
        for name in _REFERENCES.keys() & changed.keys():
            changed[name] = tuple(each for each in changed[name] if isinstance(each, str | type)) or None
        return {f"NAQ_{name.upper()}": _as_text(value) for name, value in changed.items() if value is not None}

    def redacted_url(self) -> str:
        """Return `nats_url` without user information, for messages and logs."""
        return redact_url(self.nats_url)

    def redacted(self, name: str) -> Any:
        """Return a field's value as it may be shown: secrets as `***`, addresses without user information."""
        value = getattr(self, name)
        if name in _SECRETS and value:
            return "***"
        return self.redacted_url() if name == "nats_url" else value


def _read_again(settings: Settings, name: str) -> str | None:
    """Return a credential from the file that it came from; None where it came from no file, or is there no more."""
    source = settings.sources.get(name, "")
    if source.endswith("_FILE"):
        path = os.environ.get(source)
        return read_secret(name, path, source) if path else None
    if source.startswith("context "):
        return read_context(settings.nats_context or "", source)[1].get(name)
    if source.endswith(".toml"):
        value = read_settings_in(Path(source)).get(name)
        return value if isinstance(value, str) else None
    return None


def _add_context(found: Found, file: str) -> None:
    """Add a context's values: they yield to arguments and variables, and to the settings file only if that names the context."""
    name, source = found["nats_context"]
    path, values = read_context(str(name), source)
    for setting, value in values.items():
        if setting not in found or (found[setting][1] == file and source != file):
            found[setting] = value, f"context {name} ({path})"


def _as_text(value: object) -> str:
    if isinstance(value, timedelta):
        return f"{value // timedelta(milliseconds=1)}ms"
    if isinstance(value, tuple):
        return ",".join(f"{each.__module__}:{each.__qualname__}" if isinstance(each, type) else str(each) for each in value)
    return str(value)


def _rebuild(cls: type[Settings], values: dict[str, Any], sources: dict[str, str]) -> Settings:
    return cls(**values, sources=types.MappingProxyType(sources))


@cache
def _field_types() -> dict[str, Any]:
    hints = get_type_hints(Settings)
    return {f.name: hints[f.name] for f in dataclasses.fields(Settings) if f.name != "sources"}


@cache
def _defaults() -> dict[str, Any]:
    return {f.name: f.default for f in dataclasses.fields(Settings)}


def _convert(name: str, value: object) -> object:
    """Bring a raw value (text from the environment, TOML value, argument) to its field's type."""
    kind = _field_types()[name]
    if kind is timedelta:
        return parse_duration(value)
    if kind is int:
        return whole_number(value)
    if name in _REFERENCES:
        return _REFERENCES[name](value)
    if kind == tuple[str, ...]:
        found = names(value)
        if name in {"signing_key", "webhook_secret"} and value != () and not found:
            raise ValueError("was given but is empty; omit it to work without signatures")
        return found
    if value is None and _defaults()[name] is None:
        return None
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    text = exact_text(value)
    if text is None:
        raise ValueError(f"must be text, not a {type(value).__name__}")
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text.upper() if name == "log_level" else text


def _warn_about_unknown_environment(names: Iterable[str]) -> None:
    known = {variable for variable in _VARIABLES.known(names) if variable.startswith("NAQ_")}
    for variable in sorted(os.environ):
        foreign = not variable.startswith("NAQ_") or variable.startswith(_FOREIGN_PREFIXES)
        if not foreign and variable not in known and not is_service_link(variable, os.environ[variable]):
            log.warning("%s is not a NAQ setting%s", variable, meant(variable, known))
