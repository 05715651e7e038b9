"""The configuration that NAQ wants for each of its streams and buckets; `topology` creates them."""

from typing import Any

from naq_core.storage.connection import Connection

MAX_CONSUMERS = 1_000_000
"""Of the jobs stream. A server from 2.15 on allows 1,000 where a stream says nothing, or says -1."""
AUDIT_MESSAGES = 200_000
"""Two for each action, some 300 bytes each."""
AUDIT_REFUSALS = 10_000
AUDIT_BYTES = 32_768
MOST_COUNTERS = 100_000
COUNTERS_KEPT = 90 * 86400
"""Seconds after which a counter is forgotten that has not grown: its function is gone."""


def stream_configs(connection: Connection) -> list[dict[str, Any]]:
    """Return the wanted configuration of each stream (JetStream's own JSON: nats-py's classes lack newer fields)."""
    names, replicas = connection.names, connection.settings.replicas
    jobs: dict[str, Any] = {
        "name": names.jobs_stream,
        "subjects": [f"{names.jobs}.>", f"{names.edges}.>"],
        "retention": "workqueue",
        "storage": "file",
        "num_replicas": replicas,
        "max_consumers": MAX_CONSUMERS,
        "discard": "old",
        "allow_direct": True,
        "allow_msg_schedules": True,
        "allow_msg_ttl": True,
        "allow_atomic": True,
    }
    if connection.settings.job_events != "keep":
        event = {"src": f"{names.jobs}.>", "dest": f"{names.namespace}.event.jobs.>", "headers_only": True}
        jobs["republish"] = event if connection.settings.job_events == "on" else None
    return [
        jobs,
        bucket_config(names.results_stream, names.results, replicas, event=f"{names.namespace}.event.results.>"),
        bucket_config(names.workers_stream, names.workers, replicas),
        _queues_bucket(connection),
    ]


def optional_configs(connection: Connection) -> list[dict[str, Any]]:
    """Return the wanted configuration of the buckets that are made when the first schedule, workflow or large payload comes."""
    names, replicas = connection.names, connection.settings.replicas
    return [
        objects_config(connection),
        bucket_config(names.schedules_stream, names.schedules, replicas),
        bucket_config(names.leases_stream, names.leases, replicas),
        bucket_config(names.workflows_stream, names.workflows, replicas),
        metrics_config(connection),
        audit_config(connection),
        tally_config(connection),
    ]


def _log_config(connection: Connection, stream: str, prefix: str) -> dict[str, Any]:
    """A stream whose oldest messages go where a bound says so, and not because somebody has read them."""
    return {
        "name": stream,
        "subjects": [f"{prefix}.>"],
        "retention": "limits",
        "storage": "file",
        "num_replicas": connection.settings.replicas,
        "discard": "old",
        "allow_rollup_hdrs": False,
        "allow_direct": True,
    }


def metrics_config(connection: Connection) -> dict[str, Any]:
    """Return the wanted configuration of the stream of figures: made by the first worker that stores some."""
    names = connection.names
    return _log_config(connection, names.metrics_stream, names.metrics) | {
        "max_msgs_per_subject": 1,
        "allow_msg_ttl": True,
    }


def audit_config(connection: Connection) -> dict[str, Any]:
    """Return the wanted configuration of the audit trail: made by the first action, and nothing in it is ever changed.

    Whatever is published is appended; the server deletes and purges nothing of it on request. Notes have a subject each, so the
    bound per subject concerns only the refused attempts: they cannot push out what was done. The number of messages bounds the
    size, as `max_bytes` would reserve room on the server that others need.
    """
    names = connection.names
    return _log_config(connection, names.audit_stream, names.audit) | {
        "max_age": int(connection.settings.audit_ttl.total_seconds()) * 1_000_000_000,
        "max_msgs": AUDIT_MESSAGES,
        "max_msgs_per_subject": AUDIT_REFUSALS,
        "max_msg_size": AUDIT_BYTES,
        "deny_delete": True,
        "deny_purge": True,
        "republish": {"src": f"{names.audit}.>", "dest": f"{names.namespace}.event.audit.>"},
    }


def tally_config(connection: Connection) -> dict[str, Any]:
    """Return the wanted configuration of the counters: made with the first streams, as producers do not look for it."""
    names = connection.names
    return _log_config(connection, names.tally_stream, names.tallies) | {
        "max_msgs_per_subject": 1,
        "max_msgs": MOST_COUNTERS,
        "max_age": COUNTERS_KEPT * 10**9,
        "allow_msg_counter": True,
    }


def bucket_config(stream: str, prefix: str, replicas: int, event: str | None = None) -> dict[str, Any]:
    """A key-value bucket in JetStream's own layout, but without rollup: no single publish can wipe it."""
    config: dict[str, Any] = {
        "name": stream,
        "subjects": [f"{prefix}.>"],
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_msgs_per_subject": 1,
        "discard": "new",
        "deny_delete": True,
        "allow_rollup_hdrs": False,
        "allow_direct": True,
        "allow_msg_ttl": True,
    }
    if event is not None:
        config["republish"] = {"src": f"{prefix}.>", "dest": event, "headers_only": True}
    return config


def objects_config(connection: Connection) -> dict[str, Any]:
    """Return the wanted configuration of the bucket of large payloads."""
    names = connection.names
    prefixes = [f"$O.{names.objects}.C.>", f"$O.{names.objects}.M.>"]
    config = bucket_config(names.objects_stream, "", connection.settings.replicas)
    return config | {"subjects": prefixes, "max_msgs_per_subject": -1}


def _queues_bucket(connection: Connection) -> dict[str, Any]:
    """Settings of queues, whose changes workers follow, and the slots of limited queues."""
    names = connection.names
    config = bucket_config(names.queues_stream, names.queues, connection.settings.replicas)
    config["republish"] = {"src": names.queue_setting("*"), "dest": names.queue_event("{{wildcard(1)}}")}
    return config
