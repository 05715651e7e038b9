"""Settings as keyword arguments, for type checkers; what each means is said in `Settings`."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypedDict

Duration: TypeAlias = timedelta | float | str
"""A `timedelta`, seconds, or a text such as "5m"."""
Names: TypeAlias = Sequence[str]


class OtherSettings(TypedDict, total=False):
    """All settings but `nats_url` and `concurrency`, which services take as arguments of their own."""

    namespace: str | None
    default_queue: str | None
    job_serializer: Literal["pickle", "json"] | None
    allowed_functions: Names | str | None
    middleware: Sequence[Any] | str | None
    hooks: Sequence[Any] | str | None
    signing_key: Names | str | None
    webhook_secret: Names | str | None
    large_threshold: int | None
    large_ttl: Duration | None
    result_ttl: Duration | None
    failure_ttl: Duration | None
    dead_ttl: Duration | None
    audit_ttl: Duration | None
    job_events: Literal["keep", "on", "off"] | None
    job_logs: Literal["on", "off"] | None
    replicas: int | None
    ack_wait: Duration | None
    claim_after: Duration | None
    heartbeat_interval: Duration | None
    worker_ttl: Duration | None
    scheduler_ttl: Duration | None
    workers: int | None
    worker_queues: Names | str | None
    processes: int | None
    shutdown_grace: Duration | None
    max_crashes: int | None
    publish_timeout: Duration | None
    publish_budget: Duration | None
    max_in_flight: int | None
    nats_context: str | None
    nats_inbox_prefix: str | None
    nats_user: str | None
    nats_password: str | None
    nats_token: str | None
    nats_creds: str | None
    nats_nkey: str | None
    nats_tls_ca: str | None
    nats_tls_cert: str | None
    nats_tls_key: str | None
    log_level: str | None
    log_format: Literal["console", "json", "logfmt"] | None


class ServiceSettings(OtherSettings, total=False):
    """All settings but `nats_url`."""

    concurrency: int | None
